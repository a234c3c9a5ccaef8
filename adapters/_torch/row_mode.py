"""What enters and leaves the products with a parameter that is no weight of a linear module.

The experts of a mixture share one parameter, of which every expert has a part, and a router may
multiply with its weight itself: their activations pass no border between modules. A mode of torch
functions is on while a module around the parameter runs. It follows which part of the parameter
and which rows of the module's input every tensor descends from, and at a product of the two shows
the activations to a function, which may replace them. The operations are the model's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deeploc.core.units import Tap
from deeploc.errors import AdapterError

from .origins import Called, Numbers, Origins, behind_ones, first_of, moves_rows, tensors
from .products import PRODUCTS, Product, unfollowed

unseen = torch._C.DisableTorchFunction
"""Context in which no mode sees what is called; for what is no operation of the model."""


@dataclass(frozen=True)
class Rows:
    """Activations of tokens in experts.

    Parameters
    ----------
    values
        One row per token and expert.
    tokens
        Number of the token of each row, stimulus by stimulus.
    experts
        Number of the expert of each row.
    """

    values: Float[Tensor, "row unit"]
    tokens: Int[Tensor, " row"]
    experts: Int[Tensor, " row"]


RowFunction = Callable[[Rows], Tensor | None]
"""Called with the rows of one product; values that it returns take their place."""


@runtime_checkable
class Place(Protocol):
    """Where in a module the activations are."""

    @property
    def tap(self) -> Tap:
        """Whether what enters a product is meant, or the product."""
        ...

    def shown(self, mode: "RowMode") -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
        """Yield modules, and what is to be called before each of them."""
        ...

    def parameter(self) -> Tensor | None:
        """Return the parameter, as it is at this moment."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A parameter that the code of a module multiplies with.

    Parameters
    ----------
    holder
        The module that has it.
    name
        Its name there.
    tap
        Whether what is multiplied with it is meant, or the product.
    """

    holder: nn.Module
    name: str
    tap: Tap = "input"

    def parameter(self) -> Tensor | None:
        """Return the parameter; loading weights late (offloading) puts another one in place."""
        return self.holder._parameters.get(self.name)

    def shown(self, _: "RowMode") -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
        """Yield nothing: products are seen by the mode itself."""
        yield from ()


@dataclass(frozen=True)
class Layers:
    """The same layer in every expert of a list of them: what enters it.

    Parameters
    ----------
    modules
        The layer in each expert.
    """

    modules: Sequence[nn.Module]
    tap: Tap = "input"

    def parameter(self) -> None:
        """Return nothing: the layers are modules."""

    def shown(self, mode: "RowMode") -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
        """Yield every layer, and what shows its input."""
        for expert, module in enumerate(self.modules):
            yield module, partial(mode.before, expert)


class RowMode(TorchFunctionMode):
    """Follows tokens through the functions that a module calls, up to the activations.

    Parameters
    ----------
    given
        What the module is given, ``(..., unit)``: a row per token, stimulus by stimulus.
    place
        Where the activations are.
    function
        What they are shown to.
    """

    def __init__(self, given: Tensor, place: Place, function: RowFunction) -> None:
        super().__init__()
        n_tokens = given.shape[:-1].numel()
        self.tokens = Origins()
        self.tokens[given] = torch.arange(n_tokens, device=given.device).view(given.shape[:-1])
        self._parts = Origins()
        self._whole: Numbers | None = None
        self._place = place
        self._function = function

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        called = Called(func, args, kwargs or {})
        with unseen():
            part = self._part_among(called)
        if part is not None and called.name in PRODUCTS:
            result = self._multiplied(called, part)
        else:
            result = func(*args, **called.kwargs)
            if part is not None:
                with unseen():
                    self._follow_part(called, part, result)
        with unseen():
            self.tokens.follow(called, result)
        return result

    def before(self, expert: int, module: nn.Module, args: tuple[Any, ...]) -> Any:
        """Show what enters a layer of one expert, as a hook of that layer."""
        x = args[0]
        numbers = self._tokens_of(x, f"{type(module).__name__} of expert {expert}")
        new = self._show(x, numbers, torch.full_like(numbers, expert))
        return None if new is None else (new, *args[1:])

    def _part_among(self, called: Called) -> Tensor | None:
        whole = self._place.parameter()
        for x in called.tensors():
            if x is whole and x not in self._parts:
                self._whole = torch.arange(len(x), device=x.device)
                self._parts[x] = self._whole
            if x in self._parts:
                return x
        return None

    def _follow_part(self, called: Called, part: Tensor, result: Any) -> None:
        """Follow a part of the parameter; what else is made of it would not be seen."""
        for x in tensors([result]):
            elementwise = x.shape == part.shape
            if x.is_floating_point() and not elementwise and not moves_rows(called.name):
                raise unfollowed(called.name)
        self._parts.follow(called, result)

    def _multiplied(self, called: Called, part: Tensor) -> Any:
        """Return a product with a part of the parameter, and show what enters or leaves it."""
        with unseen():
            product = Product.of(called, part)
            wide = _wide(self._tokens_of(product.x, called.name), product.x)
            numbers = product.upright(wide)[..., 0]
            experts = self._experts(product, numbers)
            whole = product.is_batch and _shares_memory(self._parts[part], self._whole)
        if self._place.tap == "input":
            new = self._show(product.upright(product.x), numbers, experts, whole=whole)
            return product.call(None if new is None else product.laid_out(new))
        result = product.call(None)
        new = self._show(product.upright(result), numbers, experts)
        return result if new is None else product.upright(new)

    def _experts(self, product: Product, tokens: Numbers) -> Numbers:
        """Return the expert of every row: that of the part of the parameter it is multiplied by."""
        parts, n_batch = self._parts[product.part], product.part.ndim - 2
        parts = first_of(parts, parts.ndim - n_batch)
        parameter = self._place.parameter()
        if parameter is not None and parameter.ndim == 2:  # the experts one below the other
            parts = parts // product.upright(product.x).shape[-1]
        if product.offsets is not None:
            counts = torch.diff(product.offsets, prepend=product.offsets.new_zeros(1))
            return torch.repeat_interleave(parts, counts, output_size=len(tokens))
        return (parts.unsqueeze(-1) if parts.ndim else parts).expand(tokens.shape)

    def _show(
        self, x: Tensor, tokens: Numbers, experts: Numbers, *, whole: bool = False
    ) -> Tensor | None:
        """Return ``x`` with what the function puts in its place; ``None``: as it is."""
        rows = Rows(x.flatten(0, -2), tokens.flatten(), experts.flatten())
        if not whole:
            new = self._function(rows)
            return None if new is None else new.view(x.shape)
        # every expert is given every token: as 0 unless the token is routed to it
        own = rows.values.any(-1)
        new = self._function(Rows(rows.values[own], rows.tokens[own], rows.experts[own]))
        return None if new is None else rows.values.clone().index_put((own,), new).view(x.shape)

    def _tokens_of(self, x: Tensor, place: str) -> Numbers:
        if x not in self.tokens:
            raise AdapterError(
                f"which tokens enter {place} cannot be followed: its input is made from the "
                "input of the module around it by a function that mixes positions"
            )
        return self.tokens[x]


def _wide(numbers: Numbers, x: Tensor) -> Numbers:
    return behind_ones(numbers, x.ndim - numbers.ndim).expand(x.shape)


def _shares_memory(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
