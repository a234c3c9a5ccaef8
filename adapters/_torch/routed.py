"""Activations that only the tokens have that are routed to an expert; at all others they are 0."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deeploc.core.units import Site
from deeploc.errors import AdapterError

from .parameter_hook import ParameterHook, parameter_hook
from .row_mode import RowFunction, Rows

Dense = Float[Tensor, "batch position unit"]


@dataclass(frozen=True)
class Routed:
    """The activations at a site of experts in one forward pass.

    Parameters
    ----------
    site
        The site; unit ``expert * width + neuron`` is ``neuron`` of ``expert``.
    products
        The rows of each product.
    shape
        Numbers of stimuli, positions and units, as of the tensor with all zeros written out.
    like
        A tensor on the device and of the type of the activations.
    """

    site: Site
    products: Sequence[Rows]
    shape: tuple[int, int, int]
    like: Tensor

    @classmethod
    def of(cls, site: Site, products: Sequence[Rows], given: Tensor, n_stimuli: int) -> "Routed":
        """Return the activations of ``n_stimuli``, of whose tokens a module was given a row each.

        Raises
        ------
        AdapterError
            If these are not equally many tokens per stimulus.
        """
        n_tokens = given.shape[:-1].numel()
        if n_tokens % n_stimuli:
            raise AdapterError(
                f"site {site.name} has {n_tokens} tokens for {n_stimuli} stimuli, so that it is "
                "not known whose they are; choose other sites"
            )
        like = products[0].values if products else given
        return cls(site, products, (n_stimuli, n_tokens // n_stimuli, site.n_units), like)

    def dense(self) -> Dense:
        """Return the tensor (stimulus, position, unit) with all zeros written out."""
        n_stimuli, n_positions, n_units = self.shape
        x = self.like.new_zeros(n_stimuli * n_positions, n_units)
        for rows in self.products:
            width = rows.values.shape[1]
            x.view(len(x), -1, width)[rows.tokens, rows.experts] = rows.values
        return x.view(self.shape)

    @cached_property
    def width(self) -> int:
        """How many units an expert has."""
        return self.like.shape[1] if self.products else self.site.n_units


@dataclass(frozen=True)
class Cells:
    """Rows that count for a stimulus, and which of (stimulus, expert) each belongs to."""

    values: Float[Tensor, "row unit"]
    cells: Int[Tensor, " row"]


def counted(x: Routed, valid: Bool[Tensor, "batch position"] | None) -> Iterator[Cells]:
    """Yield the rows of each product that stand at valid positions.

    Parameters
    ----------
    x
        The activations.
    valid
        Which positions count; ``None``: all.
    """
    for rows in x.products:
        n_experts = x.shape[2] // x.width
        cells = rows.tokens // x.shape[1] * n_experts + rows.experts
        if valid is None:
            yield Cells(rows.values, cells)
        else:
            own = valid.flatten()[rows.tokens]
            yield Cells(rows.values[own], cells[own])


def routed_hook(
    model: nn.Module, site: Site, n_stimuli: int, keep: Callable[[Routed], None]
) -> ParameterHook:
    """Return a hook that gives the activations of a site of experts to ``keep``.

    Parameters
    ----------
    model
        The module in which the path of the site starts.
    site
        The site.
    n_stimuli
        Number of stimuli in the pass.
    keep
        Takes the activations, once per forward pass.
    """
    products: list[Rows] = []

    def visits(given: Tensor) -> Iterator[RowFunction]:
        yield products.append
        keep(Routed.of(site, tuple(products), given, n_stimuli))
        products.clear()

    return parameter_hook(model, site, visits, products.clear)
