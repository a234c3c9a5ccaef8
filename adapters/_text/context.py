"""How many positions a model has an embedding for, told from what it looks up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Table = tuple[int, int]
"""Number of rows of a table, and the row that was looked up for the first position."""


class PositionTables(TorchFunctionMode):
    """Inside this context, note the tables of which consecutive rows are looked up.

    Parameters
    ----------
    n_positions
        Number of positions of the input.
    """

    def __init__(self, n_positions: int) -> None:
        super().__init__()
        self.found: set[Table] = set()
        self._n = n_positions

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``function``, and note the table if it looks up one row for each position."""
        table, rows = _looked_up(function, args)
        if isinstance(table, Tensor) and table.ndim == 2 and table.is_floating_point():
            first = self._first(rows)
            if first is not None:
                self.found.add((len(table), first))
        return function(*args, **(kwargs or {}))

    def _first(self, rows: Any) -> int | None:
        if isinstance(rows, slice):
            start = rows.start or 0
            return start if rows.stop is not None and rows.stop - start == self._n else None
        whole = isinstance(rows, Tensor) and rows.ndim > 0 and not rows.is_floating_point()
        if not whole or rows.dtype == torch.bool:
            return None
        shaped = []
        if rows.numel() % self._n == 0:
            shaped.append(rows.reshape(-1, self._n))
        if rows.shape[-1] > self._n:  # the model pads its input to a multiple of something
            shaped.append(rows.reshape(-1, rows.shape[-1])[:, : self._n])
        for each in shaped:
            consecutive = each[0, 0] + torch.arange(self._n, device=rows.device)
            if bool((each == consecutive).all()):
                return int(each[0, 0])
        return None


def n_embedded(passes: Sequence[PositionTables]) -> int | None:
    """Return for how many positions there is an embedding; ``None``: no table limits them.

    Parameters
    ----------
    passes
        What was looked up for inputs of several lengths.
    """
    found = set.intersection(*(each.found for each in passes))
    return min((rows - first for rows, first in found), default=None)


def _looked_up(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the table and the rows that a call of torch looks up, if it does."""
    if function is torch.nn.functional.embedding and len(args) > 1:
        return args[1], args[0]
    if function is Tensor.__getitem__:
        table, rows = args
        return table, rows[0] if isinstance(rows, tuple) and rows else rows
    if function in (torch.index_select, Tensor.index_select) and len(args) > 2 and args[1] == 0:
        return args[0], args[2]
    return None, None
