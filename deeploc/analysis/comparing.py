"""A contrast's statistic: what its conditions look like to every unit, compared as it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from deeploc.analysis import statistic_plugins
from deeploc.contrast.model import Contrast
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.contrast.selecting import Correction
from deeploc.core import selectivity, stats
from deeploc.core.multiplicity import benjamini_hochberg, benjamini_yekutieli
from deeploc.core.selectivity import Sample
from deeploc.core.stats import Moments, Vector, slices
from deeploc.core.units import Layout

Matrix = Float64[np.ndarray, "stimulus unit"]
Chosen = Int[np.ndarray, " _"]
"""The numbers of some of the stimuli."""

_OF_MOMENTS = ("welch", "d-prime", "selectivity-index")
"""Statistics that need the moments of the conditions; the others take every single activation."""


def needs_activations(contrast: Contrast) -> bool:
    """Return whether the statistic of a contrast takes every single activation.

    Parameters
    ----------
    contrast
        Its statistic; those of plugins do.
    """
    return contrast.statistic not in _OF_MOMENTS


class UnitStatistics(NamedTuple):
    """What a contrast says about every unit; all vectors are ``(unit,)``.

    ``t`` is what units are ranked by: t of Welch's or the paired test, z of the rank test
    (`deeploc.core.selectivity.RankTest`), d' or the selectivity index. ``p`` is its two-sided p and
    ``df`` its degrees of freedom, infinite for z; d', the index and the statistics of plugins have
    the p and df of Welch's t. ``d`` is Cohen's d.
    """

    t: Vector
    df: Vector
    p: Vector
    d: Vector


@dataclass(frozen=True)
class Design:
    """What a contrast compares: ``samples``, each of one condition or of several taken as one.

    ``weights`` holds the weights of the samples in every comparison, 0 where one does not count. A
    condition on neither side is in no sample. Without weights the first sample is compared with
    each of the others.
    """

    samples: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, contrast: Contrast) -> "Design":
        """Return the one comparison of a contrast, or one per control condition (``each``).

        Parameters
        ----------
        contrast
            Its comparison, and whether it is pooled or against each condition.
        """
        sides = contrast.comparison
        if sides.weights is not None:
            samples = tuple((name,) for name in sides.weights)
            return cls(samples, (tuple(sides.weights.values()),))
        if contrast.against == "pooled":
            return cls((sides.positive, sides.negative), ((1.0, -1.0),))
        others = tuple((name,) for name in sides.negative)
        weights = -np.eye(len(others))
        return cls((sides.positive, *others), tuple((1.0, *row.tolist()) for row in weights))


def of_moments(contrast: Contrast, moments: Mapping[str, Moments]) -> UnitStatistics:
    """Return the contrast's statistic of every unit from the moments of the conditions.

    With ``against: each`` the statistic is the smallest over the control conditions, and df, p and
    d are those of the smallest t: a unit must beat every one of them.

    Source: the minimum statistic against the conjunction null, Nichols et al. (2005),
    NeuroImage 25, 653-660, doi:10.1016/j.neuroimage.2004.12.005.

    Parameters
    ----------
    contrast
        Its comparison, and a statistic that does not need activations (`needs_activations`).
    moments
        Condition -> moments of the response, over ``(unit,)``.
    """
    t, df, d = compare(contrast, moments)
    ranked = t if contrast.statistic == "welch" else _indices(contrast, moments)
    return UnitStatistics(ranked, df, stats.two_sided_p(t, df), d)


def _indices(contrast: Contrast, moments: Mapping[str, Moments]) -> Vector:
    indices = np.empty(len(next(iter(moments.values())).mean))
    for units in slices(len(indices)):
        part = _samples(contrast, {name: m.part(units) for name, m in moments.items()})
        indices[units] = np.min([_index(contrast, part[0], other) for other in part[1:]], axis=0)
    return indices


def _index(contrast: Contrast, positive: Moments, negative: Moments) -> Vector:
    if contrast.statistic == "d-prime":
        return selectivity.d_prime(positive, negative)
    return selectivity.selectivity_index(positive.mean, negative.mean)


def of_responses(
    contrast: Contrast, responses: Matrix, rows: Mapping[str, Chosen]
) -> UnitStatistics:
    """Return the contrast's statistic of every unit from the responses to every stimulus.

    With ``against: each`` the smallest over the control conditions counts, as in `of_moments`.

    Parameters
    ----------
    contrast
        Its comparison and statistic.
    responses
        As the contrast counts them: signed or absolute.
    rows
        Condition -> the numbers of its stimuli, of paired ones in one order.
    """
    if not needs_activations(contrast):
        return of_moments(contrast, {name: _moments(responses[r]) for name, r in rows.items()})
    samples = [
        responses[np.concatenate([rows[name] for name in names])]
        for names in Design.of(contrast).samples
    ]
    if contrast.statistic not in STATISTICS:
        t, df, d = compare(contrast, {name: _moments(responses[r]) for name, r in rows.items()})
        ranked = statistic_plugins.compared(contrast.statistic, samples)
        return UnitStatistics(ranked, df, stats.two_sided_p(t, df), d)
    tests = [_test(contrast, samples[0], other) for other in samples[1:]]
    t, df, d = _smallest(tests)
    return UnitStatistics(t, df, stats.two_sided_p(t, df), d)


def _test(contrast: Contrast, positive: Sample, negative: Sample) -> tuple[Vector, Vector, Vector]:
    """Return what one comparison of activations ranks by, its df, and Cohen's d."""
    d = stats.cohens_d([_moments(positive), _moments(negative)], (1.0, -1.0))
    if contrast.statistic == "paired":
        return *selectivity.paired_t(positive, negative), d
    z = selectivity.mann_whitney(positive, negative).z
    return z, np.full_like(z, np.inf), d


def _moments(responses: Matrix) -> Moments:
    moments = Moments(responses.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # a unit that is not finite is nan
        moments.add(responses)
    return moments


def compare(contrast: Contrast, moments: Mapping[str, Moments]) -> tuple[Vector, Vector, Vector]:
    """Return Welch's t, df and d of the contrast per unit from the moments of every condition.

    Units are processed a slice at a time to save memory. With ``against: each`` the comparison
    with the smallest t counts.

    Parameters
    ----------
    contrast
        Its comparison, and whether it is pooled or against each condition.
    moments
        Condition -> moments of the response, over ``(unit,)``.
    """
    n_units = len(next(iter(moments.values())).mean)
    t, df, d = np.empty(n_units), np.empty(n_units), np.empty(n_units)
    for units in slices(n_units):
        part = {name: m.part(units) for name, m in moments.items()}
        t[units], df[units], d[units] = _compare_units(contrast, part)
    return t, df, d


def _compare_units(
    contrast: Contrast, moments: Mapping[str, Moments]
) -> tuple[Vector, Vector, Vector]:
    samples = _samples(contrast, moments)
    results = []
    for weights in Design.of(contrast).weights:
        t, df = stats.contrast_t(samples, weights)
        results.append((t, df, stats.cohens_d(samples, weights)))
    return _smallest(results)


def _samples(contrast: Contrast, moments: Mapping[str, Moments]) -> list[Moments]:
    return [
        stats.pooled([moments[name] for name in names]) for names in Design.of(contrast).samples
    ]


def _smallest(
    results: Sequence[tuple[Vector, Vector, Vector]],
) -> tuple[Vector, Vector, Vector]:
    """Return t, df and d of the comparison in which a unit has the smallest t."""
    worst = np.argmin([t for t, _, _ in results], axis=0)[None]
    t, df, d = (np.take_along_axis(np.stack(v), worst, 0)[0] for v in zip(*results, strict=True))
    return t, df, d


def adjusted(layout: Layout, p: Vector, correction: Correction = "benjamini-hochberg") -> Vector:
    """Return q: p adjusted within each kind of site, since kinds are selected separately.

    Parameters
    ----------
    layout
        The sites of the units.
    p
        ``(unit,)``.
    correction
        Of Benjamini-Hochberg, or under any dependence of the units of Benjamini-Yekutieli.
    """
    adjust = {
        "benjamini-hochberg": benjamini_hochberg,
        "benjamini-yekutieli": benjamini_yekutieli,
    }[correction]
    q = np.empty_like(p)
    for kind in layout.kinds:
        units = layout.of_kind(kind)
        q[units] = adjust(p[units])
    return q
