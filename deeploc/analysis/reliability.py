"""How far a localization depends on its stimuli and on chance: one pass over the activations."""

from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np

from deeploc.analysis.comparing import Matrix
from deeploc.analysis.partitions import MIN_IN_FOLD, Partition
from deeploc.analysis.permuting import Stimuli, permuted_maxima
from deeploc.analysis.reading import ByCondition, Values
from deeploc.analysis.responses import Responses
from deeploc.contrast.model import Contrast
from deeploc.core.overlap import correlation
from deeploc.core.permutation import Maxima, familywise_p, threshold
from deeploc.core.resampling import Folds, Halves, KindReliability, Permutations, Reliability
from deeploc.core.stats import ALPHA
from deeploc.core.units import Layout, StatMap
from deeploc.progress import OnProgress, ignore_progress

N_FOLDS = 5
"""Most folds; there are fewer where one would have fewer than two stimuli of a condition."""

PARTS = ("halves", "folds", "permutations")
"""What is computed, as `Reliability.missing` calls it."""


@np.errstate(invalid="ignore", over="ignore")  # a unit that is not finite has t = nan
def reliability(
    contrast: Contrast,
    stat_map: StatMap,
    stimuli: Stimuli,
    values: Values,
    *,
    seed: int = 0,
    on_progress: OnProgress = ignore_progress,
) -> Reliability:
    """Return how far the localization depends on which stimuli it saw, and on chance.

    *Halves*: two random halves of every condition are localized apart; their maps of the statistic
    are correlated, and the units compared that the contrast's own rule selects in each. *Folds*:
    the rule selects without one fold of the stimuli, and the contrast is tested in that fold, on
    the mean z of the selected units (see `Partition`). *Permutations*: the conditions of the
    stimuli that are compared are permuted, so that each keeps its size (of paired stimuli the
    partners among themselves), and the largest statistic at each kind of site is compared with the
    true one. What cannot be computed is None, with the reason.

    Source: Westfall & Young (1993), Resampling-Based Multiple Testing; Nichols & Holmes (2002),
    doi:10.1002/hbm.1058.

    Parameters
    ----------
    contrast
        Its comparison, response and selection.
    stat_map
        The statistics of the units, from all of the stimuli.
    stimuli
        Condition -> the stimuli that localized.
    values
        Their activations ``(stimulus, unit)``, condition by condition in the order of the contrast,
        not yet absolute; may lie in a file.
    seed
        The seed of the run.
    on_progress
        Called with the number of units of each part that is done.
    """
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    responses = Responses(contrast, stat_map.layout, groups, values)
    missing: dict[str, str] = {}
    partitions = {}
    for name, n in (("halves", 2), ("folds", _n_folds(responses, stimuli))):
        try:
            partitions[name] = Partition.of(responses, stimuli, n, seed)
        except ValueError as error:
            missing[name] = str(error)
    permuted = None
    try:
        permuted = permuted_maxima(contrast, groups, seed)
    except ValueError as error:
        missing["permutations"] = str(error)
    maxima = _pass(responses, list(partitions.values()), permuted, on_progress)
    parts: dict[str, dict[str, Any]] = {"halves": {}, "folds": {}}
    for name, partition in partitions.items():
        try:
            parts[name] = _halves(partition) if name == "halves" else _folds(partition)
        except ValueError as error:  # the rule asks for more units than have a t
            missing[name] = str(error)
    kinds = [
        KindReliability(
            kind,
            parts["halves"].get(kind),
            parts["folds"].get(kind),
            _permutations(stat_map, kind, maxima[kind]) if permuted else None,
        )
        for kind in stat_map.layout.kinds
    ]
    return Reliability(kinds, missing)


def _n_folds(responses: Responses, stimuli: Stimuli) -> int:
    """Return `N_FOLDS`, or fewer, so that each holds `MIN_IN_FOLD` stimuli of a condition."""
    smallest = min(len(stimuli[name]) for name in responses.compared)
    return min(N_FOLDS, max(2, smallest // MIN_IN_FOLD))


def unknown(stat_map: StatMap, reason: str) -> Reliability:
    """Return the reliability of a localization whose activations are not at hand.

    Parameters
    ----------
    stat_map
        The statistics of the units.
    reason
        Why it cannot be computed.
    """
    kinds = [KindReliability(kind) for kind in stat_map.layout.kinds]
    return Reliability(kinds, dict.fromkeys(PARTS, reason))


@np.errstate(invalid="ignore", over="ignore")
def split_halves(
    contrast: Contrast, layout: Layout, stimuli: Stimuli, values: Values, *, seed: int = 0
) -> dict[str, Halves]:
    """Return how well two halves of the stimuli agree at each kind of site, as in `reliability`.

    Parameters
    ----------
    contrast
        Its comparison, response and selection.
    layout
        The sites of the units.
    stimuli, values, seed
        As for `reliability`.

    Raises
    ------
    ValueError
        If a half has too few stimuli, or the rule asks for more units than have a t.
    """
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    responses = Responses(contrast, layout, groups, values)
    partition = Partition.of(responses, stimuli, 2, seed)
    for _, units in responses.slices():
        partition.add(units, responses.of(units))
    return _halves(partition)


def _pass(
    responses: Responses,
    partitions: Sequence[Partition],
    permuted: Callable[[Matrix], Maxima] | None,
    on_progress: OnProgress,
) -> dict[str, Maxima]:
    """Give every unit to the partitions; return the largest permuted statistic by kind of site."""
    maxima: dict[str, Maxima] = {}
    for kind, units in responses.slices():
        response = responses.of(units)
        for partition in partitions:
            partition.add(units, response)
        if permuted:
            largest = permuted(response)
            maxima[kind] = np.maximum(maxima.get(kind, -np.inf), largest)
        on_progress(len(units))
    return maxima


def _halves(partition: Partition) -> dict[str, Halves]:
    """Return how well two halves agree at each kind of site."""
    layout = partition.responses.layout
    a, b = partition.masks()
    agreement = {}
    for kind in layout.kinds:
        among = layout.of_kind(kind)
        both = (a.selected & b.selected & among).sum()
        sizes = len(a.of_kind(kind)), len(b.of_kind(kind))
        share = 2 / sum(sizes) if any(sizes) else nan
        chance = sizes[0] * sizes[1] / among.sum()
        r = correlation(*partition.t[:, among])
        agreement[kind] = Halves(r, float(share * both), float(share * chance))
    return agreement


def _folds(partition: Partition) -> dict[str, Folds]:
    """Return the preference of what is selected without each fold, at each kind of site."""
    masks = partition.masks()
    return {
        kind: Folds(
            tuple(
                partition.preference(fold, np.flatnonzero(mask.of_kind(kind).selected))
                for fold, mask in enumerate(masks)
            )
        )
        for kind in partition.responses.layout.kinds
    }


def _permutations(stat_map: StatMap, kind: str, maxima: Maxima) -> Permutations:
    t = stat_map.t[stat_map.layout.of_kind(kind)]
    p = familywise_p(t, maxima)
    if np.isnan(p).all():
        return Permutations(len(maxima), nan, nan, nan, 0)
    n_above = int((p <= ALPHA).sum())
    return Permutations(
        len(maxima), float(np.nanmax(t)), float(np.nanmin(p)), threshold(maxima), n_above
    )
