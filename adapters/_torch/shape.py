"""Which axis of a tensor holds the units, and the tensor as (stimulus, position, unit)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.units import Site
from deeploc.errors import AdapterError

Shape = tuple[int, ...]
Sequences = Float[Tensor, "batch position unit"]


@dataclass(frozen=True)
class Widths:
    """How many units the layers inside a module have, by the axis on which they put them."""

    channels: frozenset[int]
    features: frozenset[int]

    @classmethod
    def within(cls, module: nn.Module) -> "Widths":
        """Return the widths of the layers of ``module``, whether it calls them or their weights."""
        channels: set[int] = set()
        features: set[int] = set()
        for layer in module.modules():
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2:
                features |= set(weight.shape)
            elif isinstance(weight, Tensor) and weight.ndim > 2:
                channels |= {weight.shape[0], weight.shape[1] * getattr(layer, "groups", 1)}
        return cls(frozenset(channels), frozenset(features))


def unit_axis(shape: Shape, widths: Widths) -> int:
    """Return the axis of the units: 1 for (batch, unit, row, column), else -1, the last.

    Maps are square where images are, so that the axis unlike the two others is that of the
    units; where that does not tell, the widths of the layers nearby do.
    """
    if len(shape) != 4:
        return -1
    _, first, middle, last = shape
    if middle == last != first:
        return 1
    if first == middle != last:
        return -1
    return -1 if last in widths.features and first not in widths.channels else 1


def as_sequences(site: Site, x: Tensor, n: int) -> Sequences:
    """Return ``x`` as (stimulus, position, unit), a view where its memory allows.

    Raises
    ------
    AdapterError
        If ``x`` does not hold the site's units at its positions for ``n`` stimuli.
    """
    if x.ndim < 2 or x.shape[site.axis] == 0 or len(x) % n:
        raise _unreadable(site, x, n)
    if site.n_positions is None and x.ndim == 3 and len(x) != n:
        raise _unreadable(site, x, n)  # nothing says that its first axis is that of the stimuli
    return rows(site, x).reshape(n, -1, x.shape[site.axis])


def rows(site: Site, x: Tensor) -> Float[Tensor, "... unit"]:
    """Return a view of ``x`` in which the units are the last axis."""
    return x if site.axis == -1 else x.movedim(site.axis, -1)


def _unreadable(site: Site, x: Tensor, n: int) -> AdapterError:
    return AdapterError(
        f"site {site.name} holds {tuple(x.shape)} for {n} stimuli; what can be read is "
        "(batch, position, unit), (batch, unit) or a map of them; choose other sites"
    )
