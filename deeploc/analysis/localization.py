"""Contrast in, statistic per unit out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeploc.analysis.reading import (
    ActivationSource,
    ByCondition,
    ConditionMoments,
    OverallMean,
    read_into,
)
from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.adapter import Adapter
from deeploc.core.multiplicity import benjamini_hochberg
from deeploc.core.readout import Readout
from deeploc.core.stats import Moments, Vector, slices
from deeploc.core.units import Layout, StatMap
from deeploc.errors import ContrastError
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus, load, split_half


def localize(
    adapter: Adapter,
    contrast: Contrast,
    stimuli: Mapping[str, Sequence[Stimulus]] | None = None,
    *,
    seed: int = 0,
    readings: ActivationSource | None = None,
    on_progress: OnProgress = ignore_progress,
) -> StatMap:
    """Return how strongly every unit prefers one side of ``contrast`` over the other.

    Activations are streamed: memory does not grow with the number of stimuli.

    Parameters
    ----------
    adapter
        The model.
    contrast
        Its conditions, comparison and read-out.
    stimuli
        Condition -> its stimuli. By default the contrast's own are loaded and, with
        ``split: half``, the half that localizes is taken, both with ``seed``.
    seed
        Of sampling and splitting the stimuli.
    readings
        Where activations are read from; default the adapter itself.
    on_progress
        Called with the number of stimuli of each batch.

    Raises
    ------
    ContrastError
        If a condition of the contrast is missing or has fewer than two stimuli.
    AdapterError
        If the model lacks the sites or cannot read the stimuli.
    """
    if stimuli is None:
        stimuli = load(contrast, seed=seed)
        if contrast.split == "half":
            stimuli, _ = split_half(stimuli, seed)
    check_counts(contrast, stimuli)
    layout = layout_of(adapter, contrast)
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    by_condition = ConditionMoments(groups, layout.n_units, contrast.read.response == "abs")
    signed, absolute = OverallMean(layout.n_units), OverallMean(layout.n_units, absolute=True)
    read_into(
        [signed, absolute, by_condition],
        readings or adapter,
        groups.stimuli,
        layout,
        Readout.of(contrast.read),
        on_progress=on_progress,
    )
    return _stat_map(contrast, layout, by_condition.moments, signed.mean, absolute.mean)


def _stat_map(
    contrast: Contrast,
    layout: Layout,
    moments: dict[str, Moments],
    signed: Vector,
    magnitude: Vector,
) -> StatMap:
    t, df, d = compare(contrast, moments)
    means = {name: m.mean for name, m in moments.items()}
    sds = {name: moments.pop(name).sd for name in list(moments)}  # each frees what it replaces
    p, q = significance(layout, t, df)
    vectors = {"t": t, "df": df, "p": p, "q": q, "d": d}
    baseline = np.nan_to_num(signed)  # so that mean ablation silences a non-finite unit
    vectors |= {"baseline": baseline, "magnitude": magnitude}
    return StatMap(layout, **vectors, means=means, sds=sds)


def significance(layout: Layout, t: Vector, df: Vector) -> tuple[Vector, Vector]:
    """Return p, two-sided, and q, adjusted within each kind of site: kinds are selected separately.

    Parameters
    ----------
    layout
        The sites of the units.
    t, df
        ``(unit,)``.
    """
    p = stats.two_sided_p(t, df)
    q = np.empty_like(p)
    for kind in layout.kinds:
        units = layout.of_kind(kind)
        q[units] = benjamini_hochberg(p[units])
    return p, q


def layout_of(adapter: Adapter, contrast: Contrast) -> Layout:
    """Return the sites of a model that the contrast reads, and the units it counts there.

    Parameters
    ----------
    adapter
        The model.
    contrast
        Its read-out: ``sites``, and pool ``none``, where every position of a unit counts.

    Raises
    ------
    AdapterError
        If the model lacks the sites, or positions are units and their number is not fixed.
    """
    layout = adapter.sites.choose(contrast.read.sites)
    return layout.per_position() if contrast.read.pool == "none" else layout


def check_counts(contrast: Contrast, stimuli: Mapping[str, Sequence[Stimulus]]) -> None:
    """Refuse a condition with fewer than two stimuli to localize with.

    Parameters
    ----------
    contrast
        Its conditions.
    stimuli
        Condition -> the stimuli that localize.

    Raises
    ------
    ContrastError
        Naming the condition.
    """
    for condition in contrast.conditions:
        n = len(stimuli.get(condition, ()))
        if n < 2:
            raise ContrastError(
                f"condition {condition!r} has {n} stimuli to localize with; a variance needs at "
                "least two; add stimuli, raise --limit, or set `split: none`"
            )


@dataclass(frozen=True)
class Design:
    """What a contrast compares: ``samples``, each of one condition or of several taken as one.

    ``weights`` holds the weights of the samples in every comparison, 0 where one does not count. A
    condition on neither side is in no sample.
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


def compare(contrast: Contrast, moments: Mapping[str, Moments]) -> tuple[Vector, Vector, Vector]:
    """Return t, df and d of the contrast per unit from the moments of every condition.

    Units are processed a slice at a time to save memory.

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
    """Return t, df and d of the contrast.

    With ``against: each`` a unit gets the comparison in which it does worst (the minimum t over
    the control conditions), so that it must beat every one of them.

    Source: the minimum statistic against the conjunction null, Nichols et al. (2005),
    NeuroImage 25, 653-660.
    """
    design = Design.of(contrast)
    samples = [stats.pooled([moments[name] for name in names]) for names in design.samples]
    results = []
    for weights in design.weights:
        t, df = stats.contrast_t(samples, weights)
        results.append((t, df, stats.cohens_d(samples, weights)))
    worst = np.argmin([t for t, _, _ in results], axis=0)[None]
    t, df, d = (np.take_along_axis(np.stack(v), worst, 0)[0] for v in zip(*results, strict=True))
    return t, df, d
