"""A product of activations and a part of a parameter, as a function of torch was called with it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deeploc.errors import AdapterError

from .origins import Called

_PLAIN = frozenset({"linear", "matmul", "__matmul__", "mm", "bmm"})
_SUMS = frozenset({"addmm", "baddbmm"})  # their first tensor is added to the product
_GROUPED = frozenset({"grouped_mm", "_grouped_mm", "grouped_mm_fallback"})

PRODUCTS = _PLAIN | _SUMS | _GROUPED
"""Names of the functions that multiply."""


@dataclass(frozen=True)
class Product:
    """A product of activations and a part of a parameter.

    Parameters
    ----------
    called
        The function and its arguments.
    x_place, part_place
        Where the two stand among the arguments: a number or a name.
    x, part
        The two.
    offsets
        Where the rows of each expert end, if ``x`` holds those of one after the other.
    """

    called: Called
    place: int | str
    x: Tensor
    part: Tensor
    part_first: bool
    offsets: Tensor | None

    @classmethod
    def of(cls, called: Called, part: Tensor) -> "Product":
        """Return what a function multiplies, or raise an error."""
        given: list[tuple[int | str, Any]] = [*enumerate(called.args), *called.kwargs.items()]
        operands = [(key, x) for key, x in given if isinstance(x, Tensor)]
        pair = operands[1:3] if called.name in _SUMS else operands[:2]
        if len(pair) < 2 or all(x is not part for _, x in pair):  # it is added, not multiplied
            raise unfollowed(called.name)
        part_first = pair[0][1] is part
        place, x = pair[1] if part_first else pair[0]
        grouped = called.name in _GROUPED
        offsets = operands[2][1] if grouped and len(operands) > 2 else None
        if x.ndim < 2 or (grouped and (offsets is None or x.ndim != 2)):
            raise unfollowed(called.name)
        return cls(called, place, x, part, part_first, offsets)

    @property
    def is_batch(self) -> bool:
        """Whether every row of a batch is multiplied by a part of its own."""
        return self.part.ndim > 2 and self.offsets is None

    def upright(self, x: Tensor) -> Tensor:
        """Return an operand or result with the units last, or such a one as it was."""
        return x.mT if self.part_first else x

    def laid_out(self, new: Tensor) -> Tensor:
        """Return upright activations as the operand is in memory: this decides how it is summed."""
        return torch.empty_like(self.x).copy_(new.mT) if self.part_first else new

    def call(self, new: Tensor | None) -> Any:
        """Call the function, with other activations if there are some."""
        args, kwargs = list(self.called.args), dict(self.called.kwargs)
        if new is not None and isinstance(self.place, int):
            args[self.place] = new
        elif new is not None:
            kwargs[str(self.place)] = new
        return self.called.function(*args, **kwargs)


def unfollowed(function: str) -> AdapterError:
    """Return the error for a parameter that is used in a way which is not understood."""
    return AdapterError(
        f"the activations of the experts cannot be read: `{function}` takes their parameter and is "
        "no product with it; load the model with `experts_implementation='eager'`"
    )
