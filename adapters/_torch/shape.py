"""Activations as (stimulus, position, unit), and back as they stood in the tensor of a site."""

from dataclasses import dataclass
from functools import cache
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.units import Site
from deeploc.errors import AdapterError

Shape = tuple[int, ...]
Axes = tuple[str, ...]
"""What each axis of a tensor is; see `Site.axes`."""
Sequences = Float[Tensor, "batch position unit"]

PADDED = "padded"
"""An axis of positions that the module itself lengthens at its end."""

POSITIONS = ("position", PADDED)


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
        Activations as they stand in the tensor of the site.
    n
        Number of stimuli.

    Raises
    ------
    AdapterError
        If ``x`` does not hold the site's units at its positions for ``n`` stimuli.
    """
    if site.axes:
        return _as_sequences(site, x, n)
    if x.ndim < 2 or x.shape[site.axis] == 0 or len(x) % n:
        raise _unreadable(site, x, n)
    if site.n_positions is None and x.ndim == 3 and len(x) != n:
        raise _unreadable(site, x, n)  # its first axis may not be that of the stimuli
    return _units_last(site, x).reshape(n, -1, x.shape[site.axis])


def from_sequences(site: Site, sequences: Sequences, like: Tensor) -> Tensor:
    """Return activations as they stood in the tensor of a site; the inverse of `as_sequences`.

    Parameters
    ----------
    site
        Where they were read.
    sequences
        What `as_sequences` made of ``like``, perhaps edited since.
    like
        The tensor of the site.
    """
    if site.axes:
        order = _order(site.axes)
        sizes = _sizes(site, like, len(sequences))
        back = [order.index(place) for place in range(len(order))]
        return sequences.reshape([sizes[i] for i in order]).permute(back).reshape(like.shape)
    return sequences.reshape(_units_last(site, like).shape).movedim(-1, site.axis)


def stimuli_in(site: Site, x: Tensor, shown: int | None) -> int:
    """Return how many stimuli a tensor of a site holds, in a pass of which nothing else is known.

    Parameters
    ----------
    site
        Where it was read.
    x
        The tensor.
    shown
        Number of stimuli that the pass shows, if it is known; else stimuli that are flattened
        together with their positions count as one.
    """
    if site.axes:
        return x.shape[site.axes.index("batch")] if "batch" in site.axes else shown or 1
    if site.n_positions is None:
        return len(x)
    return x.numel() // (x.shape[site.axis] * site.n_positions)


def _as_sequences(site: Site, x: Tensor, n: int) -> Sequences:
    sizes = _sizes(site, x, n)
    order = _order(site.axes)
    factors = _factors(site.axes)
    n_positions = next((sizes[i] for i in order if factors[i] in POSITIONS), 1)
    return x.reshape(sizes).permute(order).reshape(n, n_positions, -1)


@cache
def _factors(axes: Axes) -> tuple[str, ...]:
    """Return the axes with those that are flattened together taken apart."""
    return tuple(factor for axis in axes for factor in axis.split())


@cache
def _order(axes: Axes) -> tuple[int, ...]:
    """Return the places of stimuli, positions and units among the factors, in that order."""
    factors = _factors(axes)
    ranks = {"batch": 0, **dict.fromkeys(POSITIONS, 1)}
    return tuple(sorted(range(len(factors)), key=lambda i: ranks.get(factors[i], 2)))


def _sizes(site: Site, x: Tensor, n: int) -> list[int]:
    """Return the size of every factor of the axes; that of positions follows from the tensor."""
    if x.ndim != len(site.axes):
        raise _unreadable(site, x, n)
    sizes = []
    for axis, size in zip(site.axes, x.shape, strict=True):
        factors = axis.split()
        known = [n if f == "batch" else 1 if f in POSITIONS else int(f) for f in factors]
        rest = size // prod(known)
        if rest * prod(known) != size or (rest != 1 and not set(factors) & set(POSITIONS)):
            raise _unreadable(site, x, n)
        sizes += [rest if f in POSITIONS else k for f, k in zip(factors, known, strict=True)]
    return sizes


def _units_last(site: Site, x: Tensor) -> Float[Tensor, "... unit"]:
    return x if site.axis == -1 else x.movedim(site.axis, -1)


def _unreadable(site: Site, x: Tensor, n: int) -> AdapterError:
    readable = (
        f"({', '.join(site.axes)})"
        if site.axes
        else "(batch, position, unit), (batch, unit) and maps (batch, unit, row, column)"
    )
    return AdapterError(
        f"site {site.name} holds {tuple(x.shape)} for {n} stimuli; readable are {readable}; "
        "choose other sites"
    )
