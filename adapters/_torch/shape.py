"""The axis of a tensor that holds the units, and the tensor as (stimulus, position, unit)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.units import Site
from deeploc.errors import AdapterError

Shape = tuple[int, ...]
Sequences = Float[Tensor, "batch position unit"]


@dataclass(frozen=True)
class Widths:
    """Numbers of units of the layers inside a module, by the axis that holds them.

    Parameters
    ----------
    channels
        Of convolutions, on axis 1.
    features
        Of linear layers, on the last axis.
    """

    channels: frozenset[int]
    features: frozenset[int]

    @classmethod
    def within(cls, module: nn.Module) -> "Widths":
        """Return the widths of all layers in ``module``, whether or not it calls them."""
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

    Maps of square images are square, so the axis of another length than the two others is that
    of the units; where that is ambiguous, the widths of the layers decide.

    Parameters
    ----------
    shape
        Of the tensor at a site, with the batch first.
    widths
        Of the layers inside the module of the site.
    """
    if len(shape) == 3 and not widths.features:  # (batch, unit, position) of 1-D convolutions
        return 1 if shape[1] in widths.channels and shape[2] not in widths.channels else -1
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

    Parameters
    ----------
    site
        Where ``x`` was read.
    x
        Activations with the axis of the stimuli, or stimuli times windows, first.
    n
        Number of stimuli.

    Raises
    ------
    AdapterError
        If ``x`` does not hold the site's units at its positions for ``n`` stimuli.
    """
    if x.ndim < 2 or x.shape[site.axis] == 0 or len(x) % n:
        raise _unreadable(site, x, n)
    if site.n_positions is None and x.ndim == 3 and len(x) != n:
        raise _unreadable(site, x, n)  # its first axis may not be that of the stimuli
    return units_last(site, x).reshape(n, -1, x.shape[site.axis])


def units_last(site: Site, x: Tensor) -> Float[Tensor, "... unit"]:
    """Return a view of activations in which the units are the last axis.

    Parameters
    ----------
    site
        Where they were read.
    x
        The activations.
    """
    return x if site.axis == -1 else x.movedim(site.axis, -1)


def _unreadable(site: Site, x: Tensor, n: int) -> AdapterError:
    return AdapterError(
        f"site {site.name} holds {tuple(x.shape)} for {n} stimuli; readable are (batch, position, "
        "unit), (batch, unit) and maps (batch, unit, row, column); choose other sites"
    )
