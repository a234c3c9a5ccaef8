"""What each axis of a tensor is, told from two passes of texts of other numbers and lengths.

An axis that keeps its size holds units; one that goes with the number of texts, with their length
or with the product of both holds stimuli, positions or both. Which of several flattened together
comes first is settled by the values: the same text reads the same, and two texts that differ in
their last token only differ at the last position more than at all others together.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import torch
from torch import Tensor

from deeploc.adapters._torch.shape import PADDED, POSITIONS, Axes, Shape, as_sequences
from deeploc.core.units import Site
from deeploc.errors import AdapterError

Rows = tuple[int, int]


@dataclass(frozen=True)
class TextProbe:
    """A small forward pass of texts.

    Parameters
    ----------
    run
        Makes the pass.
    n_stimuli, n_positions
        Number of texts and of tokens in each.
    same
        Two rows of the batch that hold the same text.
    last
        Two rows that differ in their last token only.
    """

    run: Callable[[], Any]
    n_stimuli: int
    n_positions: int
    last: Rows
    same: Rows | None = None


def possible_axes(shapes: Sequence[Shape], probes: Sequence[TextProbe]) -> list[Axes]:
    """Return what the axes of a tensor may be; empty: it holds no stimuli that can be told apart.

    Parameters
    ----------
    shapes
        Of the tensor in each of two passes.
    probes
        The passes.
    """
    if len({len(shape) for shape in shapes}) > 1:
        return []
    each = [_possible(sizes, probes) for sizes in zip(*shapes, strict=True)]
    if len(each) < 3:
        each = [[axis for axis in axes if axis != PADDED] for axes in each]
    return [axes for axes in product(*each) if _has_one_batch(axes)]


def n_units(axes: Axes) -> int:
    """Return how many scalars of a tensor belong to one position of one stimulus."""
    units = 1
    for factor in " ".join(axes).split():
        units *= int(factor) if factor.isdecimal() else 1
    return units


def settled(
    site: Site, possible: Sequence[Axes], seen: Sequence[Tensor], probes: Sequence[TextProbe]
) -> Axes | None:
    """Return what the axes of a site are; ``None``: its values leave several, or none.

    Parameters
    ----------
    site
        The site.
    possible
        What its axes may be.
    seen
        Its tensor in each pass.
    probes
        The passes.
    """
    if len(possible) == 1 and not any(" " in axis or axis == PADDED for axis in possible[0]):
        return possible[0]
    passes = list(zip(seen, probes, strict=True))
    fit = [a for a in possible if all(_fits(replace(site, axes=a), x, p) for x, p in passes)]
    if len(fit) > 1:  # what has no positions fits any values
        fit = [axes for axes in fit if set(" ".join(axes).split()) & set(POSITIONS)]
    return fit[0] if len(fit) == 1 else None


def close(a: Tensor, b: Tensor) -> bool:
    """Return whether activations agree in half the digits of their dtype, as two kernels may."""
    digits = torch.finfo(a.dtype).eps ** 0.5
    wide = a.dtype if a.dtype == torch.float64 else torch.float32
    return bool((a.to(wide) - b.to(wide)).norm() <= digits * a.to(wide).norm())


def _possible(sizes: tuple[int, ...], probes: Sequence[TextProbe]) -> list[str]:
    """Return what an axis of these sizes may be."""
    tokens = [probe.n_positions for probe in probes]
    # what is padded to a multiple has another surplus for every length
    surplus = {size - p for size, p in zip(sizes, tokens, strict=True)}
    padded = [PADDED] if len(surplus) > 1 and min(surplus) >= 0 else []
    if len(set(sizes)) == 1:
        return [*padded, str(sizes[0])]
    texts = [probe.n_stimuli for probe in probes]
    both = [n * p for n, p in zip(texts, tokens, strict=True)]
    for names, unit in ((["batch"], texts), (["position"], tokens), (["batch", "position"], both)):
        times = {size / one for size, one in zip(sizes, unit, strict=True)}
        if len(times) == 1 and (k := times.pop()).is_integer():
            factors = names if k == 1 else [*names, str(int(k))]
            return [" ".join(order) for order in permutations(factors)]
    return padded


def _has_one_batch(axes: Axes) -> bool:
    count = Counter(" ".join(axes).split())
    return count["batch"] == 1 and count["position"] + count[PADDED] <= 1


def _fits(site: Site, x: Tensor, probe: TextProbe) -> bool:
    """Return whether rows of one text agree, and others differ where their last token stands."""
    try:
        rows = as_sequences(site, x, probe.n_stimuli)[:, : probe.n_positions]
    except AdapterError:
        return False
    if probe.same and not close(*rows[list(probe.same)]):
        return False
    first, second = rows[list(probe.last)]
    change = (first - second).float().norm(dim=-1)
    return len(change) == 1 or bool(change[-1] > change[:-1].norm())
