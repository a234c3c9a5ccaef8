"""A contrast's statistic under permuted condition labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from deeploc.analysis import statistic_plugins
from deeploc.analysis.comparing import Design, Matrix, needs_activations, of_moments
from deeploc.analysis.reading import ByCondition, ConditionMoments, Rows, Values
from deeploc.analysis.responses import of_activations
from deeploc.contrast.model import Contrast
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.core.permutation import (
    N_PERMUTATIONS,
    Labellings,
    Maxima,
    PermutedT,
    labelling,
    partner_labelling,
    standardized,
)
from deeploc.core.permuted import PermutedIndex, PermutedPairs, PermutedRanks
from deeploc.core.stats import Vector
from deeploc.stimuli import Stimulus

_ROWS = 64
"""Stimuli that are taken at once from a matrix that may lie in a file."""

Stimuli = Mapping[str, Sequence[Stimulus]]


def permuted_maxima(
    contrast: Contrast, groups: ByCondition, seed: int
) -> Callable[[Matrix], Maxima]:
    """Return what turns responses into the largest statistic of 1,000 permutations.

    The conditions of all stimuli that are compared are permuted, so that each keeps its size; of
    paired stimuli only the partners among themselves.

    Parameters
    ----------
    contrast
        Its comparison and statistic.
    groups
        The stimuli; their responses are those of all of them, in this order.
    seed
        The seed of the run.

    Raises
    ------
    ValueError
        If there is no fast way: the ranks of several pairs of conditions depend on the labels.
    """
    if contrast.statistic == "paired":
        return _paired_maxima(contrast, groups, seed)
    design, compared = Design.of(contrast), _compared(contrast, groups)
    labels = _labellings(contrast, groups, seed)
    if contrast.statistic == "mann-whitney":
        if len(design.weights) > 1:
            raise ValueError(
                "a rank test against each of several conditions ranks every pair of them anew "
                "under every labelling; use `against: pooled`, or another statistic"
            )
        ranks = PermutedRanks(labels)
        return lambda response: ranks.maxima(response[compared])
    if contrast.statistic == "selectivity-index":
        index = PermutedIndex(labels)
        return lambda response: index.maxima(response[compared])
    if contrast.statistic not in STATISTICS:
        return statistic_plugins.permuted(contrast.statistic, labels, compared)
    weights = np.array(design.weights)
    halved = np.square(weights) / (2 * (np.bincount(labels[0]) - 1))
    quotient = PermutedT(
        labels, weights, variances=halved if contrast.statistic == "d-prime" else None
    )
    return lambda response: quotient.maxima(standardized(response[compared]))


def _paired_maxima(
    contrast: Contrast, groups: ByCondition, seed: int
) -> Callable[[Matrix], Maxima]:
    names = contrast.paired
    rows = np.stack([groups.rows(name) for name in names])
    n_rows = rows.shape[1]
    orders = [partner_labelling(n_rows, len(names), i, seed) for i in range(N_PERMUTATIONS)]
    pairs = PermutedPairs(np.stack(orders))
    return lambda response: pairs.maxima(response[rows])


@np.errstate(invalid="ignore", over="ignore")  # a unit that is not finite has t = nan
def permuted_t(
    contrast: Contrast, stimuli: Stimuli, values: Values, index: int, *, seed: int = 0
) -> Vector:
    """Return the statistic of every unit under permuted labels, as `localize` computes it.

    The labels are those of permutation ``index`` of `permuted_maxima`; conditions that are on
    neither side of the comparison keep their stimuli.

    Parameters
    ----------
    contrast
        Its comparison, statistic and response.
    stimuli
        Condition -> the stimuli that localized.
    values
        Their activations, condition by condition in the order of the contrast, not yet absolute;
        may lie in a file.
    index
        The number of the permutation, from 0.
    seed
        The seed of the run.
    """
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    if contrast.statistic == "paired":
        names = contrast.paired
        rows = np.stack([groups.rows(name) for name in names], axis=1)
        order = partner_labelling(len(rows), len(names), index, seed)
        of_name = dict(zip(names, np.take_along_axis(rows, order, axis=1).T, strict=True))
        return of_activations(contrast, values, of_name).t
    owners = groups.owners.copy()
    compared = _compared(contrast, groups)
    owners[compared] = labelling(owners[compared], index, seed)
    relabelled = ByCondition(groups.names, groups.stimuli, owners)
    if needs_activations(contrast):
        of_name = {name: relabelled.rows(name) for name in groups.names}
        return of_activations(contrast, values, of_name).t
    moments = ConditionMoments(relabelled, values.shape[1], contrast.read.response == "abs")
    for start in range(0, len(values), _ROWS):
        some = values[start : start + _ROWS]
        moments.add(np.arange(start, start + len(some)), some)
    return of_moments(contrast, moments.moments).t


def _compared(contrast: Contrast, groups: ByCondition) -> Rows:
    """Return the numbers of the stimuli whose labels are permuted."""
    return groups.rows(*(name for sample in Design.of(contrast).samples for name in sample))


def _labellings(contrast: Contrast, groups: ByCondition, seed: int) -> Labellings:
    """Return the sample of every stimulus that is compared, permutation by permutation."""
    samples = Design.of(contrast).samples
    sample_of = {name: n for n, names in enumerate(samples) for name in names}
    owners = groups.owners[_compared(contrast, groups)]
    numbers = np.array([sample_of.get(name, -1) for name in groups.names])
    return np.stack([numbers[labelling(owners, i, seed)] for i in range(N_PERMUTATIONS)])
