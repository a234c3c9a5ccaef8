"""Which rows of a source the rows of a tensor descend from, followed from function to function.

The rows of a tensor are its leading axes. What selects, repeats or reshapes rows is done to their
numbers, too; what works on every row separately keeps them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

Numbers = Int[Tensor, "..."]
"""A number for each row; its axes are the leading axes of the tensor that has the rows."""

_INDEX = "__getitem__"
_ALONG = {"repeat_interleave": 2, "index_select": 1}  # where `dim` stands among the arguments
_REPEAT = ("repeat", "tile")
_VIEWS = frozenset(
    {"T", "chunk", "contiguous", "expand", "flatten", "mT", "movedim", "narrow", "permute"}
    | {"reshape", "select", "split", "split_with_sizes", "squeeze", "swapaxes", "t"}
    | {"tensor_split", "transpose", "unbind", "unflatten", "unsqueeze", "view"}
)
_JOINS = frozenset({"cat", "concat", "concatenate"})
_MIXING = frozenset(("matmul", "__matmul__", "bmm", "mm", "einsum", "scaled_dot_product_attention"))


@dataclass(frozen=True)
class Called:
    """A function of torch that was called, and its arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the function, or of the attribute that was asked for."""
        name: str = getattr(self.function, "__name__", "")
        if name == "__get__":
            name = self.function.__self__.__name__  # type: ignore[attr-defined]
        return name

    def tensors(self) -> Iterator[Tensor]:
        """Yield the tensors among the arguments."""
        yield from tensors([*self.args, *self.kwargs.values()])

    def of(self, x: Tensor) -> Any:
        """Call the function with another first argument."""
        return self.function(x, *self.args[1:], **self.kwargs)


class Origins:
    """The numbers of the rows of all tensors that descend from some sources.

    Tensors are referred to weakly: following them keeps none alive.
    """

    def __init__(self) -> None:
        self._numbers = WeakIdKeyDictionary()

    def __contains__(self, x: Tensor) -> bool:
        return x in self._numbers

    def __setitem__(self, x: Tensor, numbers: Numbers) -> None:
        self._numbers[x] = numbers

    def __getitem__(self, x: Tensor) -> Numbers:
        numbers: Numbers = self._numbers[x]
        return numbers

    def follow(self, called: Called, result: Any) -> None:
        """Note the rows of what a function returned, if it was given a tensor with known rows.

        Parameters
        ----------
        called
            The function and its arguments.
        result
            A tensor, or several.
        """
        known = [x for x in called.tensors() if x in self]
        if not known or (called.name in _MIXING and self._mixes(called, known)):
            return
        source = known[0]
        numbers, results = self[source], list(tensors([result]))
        if source is called.args[0] and moves_rows(called.name):
            rows = _moved(called, source, numbers)
        elif called.name in _JOINS and numbers.ndim:
            rows = [self._joined(called)]
        else:
            rows = [_kept(numbers, source, x) for x in results]
        for x, row in zip(results, rows, strict=False):
            if row is not None and x.is_floating_point() and x not in self:
                self[x] = row

    def _mixes(self, called: Called, known: Sequence[Tensor]) -> bool:
        """Return whether a product makes each row from several: it has rows on its right side."""
        source = known[0]
        on_the_left = source is called.args[0]
        return len(known) > 1 or not (on_the_left or self[source].ndim <= source.ndim - 2)

    def _joined(self, called: Called) -> Numbers | None:
        """Return the numbers of the rows of several tensors, one after the other."""
        parts = called.args[0] if called.args else called.kwargs["tensors"]
        if any(part not in self for part in parts):
            return None
        dim = called.kwargs.get("dim", called.args[1] if len(called.args) > 1 else 0)
        numbers = [self[part] for part in parts]
        return torch.cat(numbers) if dim == 0 else numbers[0]


def behind_ones(numbers: Numbers, n_axes: int) -> Numbers:
    """Return the numbers with ``n_axes`` axes of length 1 behind them."""
    return numbers.reshape(numbers.shape + (1,) * n_axes)


def first_of(numbers: Numbers, n_axes: int) -> Numbers:
    """Return the first numbers along the last ``n_axes`` axes."""
    for _ in range(n_axes):
        numbers = numbers[..., 0]
    return numbers


def moves_rows(function: str) -> bool:
    """Return whether a function of this name returns what it is given in other places."""
    return function in _VIEWS or function in _ALONG or function in _REPEAT or function == _INDEX


def tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Yield the tensors among values, and in the lists and tuples among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (item for item in value if isinstance(item, Tensor))


def _moved(called: Called, source: Tensor, numbers: Numbers) -> list[Numbers | None]:
    """Return the numbers of the rows of everything that a function returns that moves rows."""
    behind = source.ndim - numbers.ndim
    narrow = behind_ones(numbers, behind)
    if _moves_leading_axes(called, numbers.ndim):
        return [first_of(called.of(narrow), behind)]
    if called.name in _ALONG or any(isinstance(a, torch.dtype) for a in called.args):
        return []
    wide = narrow.expand(source.shape)  # a view with strides of 0: no copy
    wide = wide.reshape(*called.args[1:]) if called.name == "view" else called.of(wide)
    return [_leading(x) for x in tensors([wide])]


def _moves_leading_axes(called: Called, n_axes: int) -> bool:
    """Return whether a function moves only the first ``n_axes`` axes and keeps those behind."""
    if called.name in _REPEAT:
        return True
    if called.name in _ALONG:
        place = _ALONG[called.name]
        dim = called.kwargs.get("dim", called.args[place] if len(called.args) > place else None)
        return isinstance(dim, int) and 0 <= dim < n_axes
    if called.name != _INDEX:
        return False
    index = called.args[1] if isinstance(called.args[1], tuple) else (called.args[1],)
    return sum(map(_n_axes, index)) <= n_axes


def _n_axes(index: Any) -> int:
    """Return how many axes one item of an index stands for."""
    if index is None:
        return 0
    if index is Ellipsis:
        return 1 << 30
    return index.ndim if isinstance(index, Tensor) and index.dtype == torch.bool else 1


def _leading(wide: Numbers) -> Numbers | None:
    """Return the numbers without the axes behind the rows, along which they are all equal."""
    n_axes = wide.ndim
    for axis in range(wide.ndim - 1, 0, -1):
        if wide.shape[axis] > 1 and wide.stride(axis) != 0:
            break
        if wide.shape[axis] > 1:
            n_axes = axis
    if 0 in wide.shape[n_axes:]:  # an empty part
        return wide.new_zeros(wide.shape[:n_axes])
    return first_of(wide, wide.ndim - n_axes)


def _kept(numbers: Numbers, source: Tensor, x: Tensor) -> Numbers | None:
    """Return the numbers for a result that has as many rows as the source, else ``None``."""
    same = x.shape[: numbers.ndim] == source.shape[: numbers.ndim]
    return numbers if same else None
