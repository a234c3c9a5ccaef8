"""How far a localization depends on its stimuli and on chance: one pass over the activations."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from deeploc.analysis.localization import Design, compare
from deeploc.analysis.partitions import MIN_IN_FOLD, Partition, Responses
from deeploc.analysis.reading import ByCondition, ConditionMoments, Rows, Values
from deeploc.contrast.model import Contrast
from deeploc.core.permutation import (
    N_PERMUTATIONS,
    Labellings,
    Maxima,
    PermutedT,
    familywise_p,
    labelling,
    standardized,
    threshold,
)
from deeploc.core.resampling import Folds, Halves, KindReliability, Permutations, Reliability
from deeploc.core.stats import ALPHA, Vector
from deeploc.core.units import Layout, StatMap
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

N_FOLDS = 5
"""Most folds; there are fewer where one would have fewer than two stimuli of a condition."""

_ROWS = 64
"""Stimuli that are taken at once from a matrix that may lie in a file."""

PARTS = ("halves", "folds", "permutations")
"""What is computed, as `Reliability.missing` calls it."""

Stimuli = Mapping[str, Sequence[Stimulus]]


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

    *Halves*: two random halves of every condition are localized apart; their t maps are correlated,
    and the units compared that the contrast's own rule selects in each. *Folds*: the rule selects
    without one fold of the stimuli, and the contrast is tested in that fold, on the mean z of the
    selected units (see `Partition`). *Permutations*: the conditions of the stimuli that are
    compared are permuted, so that each keeps its size, and the largest t at each kind of site is
    compared with the true one. What cannot be computed is None, with the reason.

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
    smallest = min(len(stimuli[name]) for name in responses.compared)
    n_folds = min(N_FOLDS, max(2, smallest // MIN_IN_FOLD))
    partitions = {}
    for name, n in (("halves", 2), ("folds", n_folds)):
        try:
            partitions[name] = Partition.of(responses, stimuli, n, seed)
        except ValueError as error:
            missing[name] = str(error)
    maxima = _pass(responses, list(partitions.values()), seed, on_progress)
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
            _permutations(stat_map, kind, largest),
        )
        for kind, largest in maxima.items()
    ]
    return Reliability(kinds, missing)


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


@np.errstate(invalid="ignore", over="ignore")
def permuted_t(
    contrast: Contrast, stimuli: Stimuli, values: Values, index: int, *, seed: int = 0
) -> Vector:
    """Return t of every unit under permuted labels, as `localize` computes it.

    The labels are those of permutation ``index`` of `reliability`; conditions that are on neither
    side of the comparison keep their stimuli.

    Parameters
    ----------
    contrast
        Its comparison and response.
    stimuli
        Condition -> the stimuli that localized.
    values
        Their activations, as for `reliability`.
    index
        The number of the permutation, from 0.
    seed
        The seed of the run.
    """
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    owners = groups.owners.copy()
    compared = _compared(contrast, groups)
    owners[compared] = labelling(owners[compared], index, seed)
    relabelled = ByCondition(groups.names, groups.stimuli, owners)
    moments = ConditionMoments(relabelled, values.shape[1], contrast.read.response == "abs")
    for start in range(0, len(values), _ROWS):
        some = values[start : start + _ROWS]
        moments.add(np.arange(start, start + len(some)), some)
    return compare(contrast, moments.moments)[0]


def _compared(contrast: Contrast, groups: ByCondition) -> Rows:
    """Return the numbers of the stimuli whose labels are permuted."""
    names = [name for sample in Design.of(contrast).samples for name in sample]
    rows: Rows = np.flatnonzero(np.isin(groups.owners, [groups.names.index(n) for n in names]))
    return rows


def _labellings(contrast: Contrast, groups: ByCondition, seed: int) -> Labellings:
    """Return the sample of every stimulus that is compared, permutation by permutation."""
    samples = Design.of(contrast).samples
    sample_of = {name: n for n, names in enumerate(samples) for name in names}
    owners = groups.owners[_compared(contrast, groups)]
    numbers = np.array([sample_of.get(name, -1) for name in groups.names])
    return np.stack([numbers[labelling(owners, i, seed)] for i in range(N_PERMUTATIONS)])


def _pass(
    responses: Responses, partitions: Sequence[Partition], seed: int, on_progress: OnProgress
) -> dict[str, Maxima]:
    """Give every unit to the partitions; return the largest permuted t at each kind of site."""
    contrast, groups = responses.contrast, responses.groups
    rows = _compared(contrast, groups)
    labels = _labellings(contrast, groups, seed)
    permuted = PermutedT(labels, np.array(Design.of(contrast).weights))
    maxima = {kind: np.full(len(labels), -np.inf) for kind in responses.layout.kinds}
    for kind, units in responses.slices():
        response = responses.of(units)
        for partition in partitions:
            partition.add(units, response)
        largest = permuted.maxima(standardized(response[rows]))
        maxima[kind] = np.maximum(maxima[kind], largest)
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
        r = _correlation(*partition.t[:, among])
        agreement[kind] = Halves(r, float(share * both), float(share * chance))
    return agreement


def _correlation(a: Vector, b: Vector) -> float:
    """Return Pearson's r over the units that are finite in both, nan where one does not vary."""
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.any() or np.ptp(a[finite]) == 0 or np.ptp(b[finite]) == 0:
        return nan
    return float(np.corrcoef(a[finite], b[finite])[0, 1])


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
