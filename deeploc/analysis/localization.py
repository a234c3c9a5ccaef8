"""Contrast in, statistic per unit out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.adapter import Adapter
from deeploc.core.readout import Readout
from deeploc.core.stats import Moments, Vector, slices
from deeploc.core.units import Layout, StatMap
from deeploc.errors import ContrastError
from deeploc.stimuli import Stimulus, load, split_half

Progress = Callable[[int], None]
"""Called with the number of stimuli just read."""


def localize(
    adapter: Adapter,
    contrast: Contrast,
    stimuli: Mapping[str, Sequence[Stimulus]] | None = None,
    *,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> StatMap:
    """Return how strongly every unit prefers one side of ``contrast`` over the other.

    ``stimuli`` maps each condition to its stimuli; by default the contrast's own are loaded and,
    with ``split: half``, the half that localizes is taken, both with ``seed``. Activations are
    streamed: memory does not grow with the number of stimuli.

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
    _check(contrast, stimuli)
    layout = layout_of(adapter, contrast)
    moments, baseline = _read(adapter, contrast, stimuli, layout, progress)
    t, df, d = compare(contrast, moments)
    means = {name: m.mean for name, m in moments.items()}
    sds = {name: moments.pop(name).sd for name in list(moments)}  # each frees what it replaces
    p = stats.two_sided_p(t, df)
    q = _adjusted(p, layout)
    return StatMap(layout, t=t, df=df, p=p, q=q, d=d, baseline=baseline, means=means, sds=sds)


def layout_of(adapter: Adapter, contrast: Contrast) -> Layout:
    """Return the sites of a model that the contrast reads, and the units it counts there.

    Raises
    ------
    AdapterError
        If the model lacks the sites, or positions are units and their number is not fixed.
    """
    layout = adapter.sites.choose(contrast.read.sites)
    return layout.per_position() if contrast.read.pool == "none" else layout


def _check(contrast: Contrast, stimuli: Mapping[str, Sequence[Stimulus]]) -> None:
    for condition in contrast.conditions:
        n = len(stimuli.get(condition, ()))
        if n < 2:
            raise ContrastError(
                f"condition {condition!r} has {n} stimuli to localize with; a variance needs at "
                "least two; add stimuli, raise --limit, or set `split: none`"
            )


def _read(
    adapter: Adapter,
    contrast: Contrast,
    stimuli: Mapping[str, Sequence[Stimulus]],
    layout: Layout,
    progress: Progress,
) -> tuple[dict[str, Moments], Vector]:
    """Return the moments of the response per condition, and the mean signed activation."""
    conditions = list(contrast.conditions)
    flat = [stimulus for name in conditions for stimulus in stimuli[name]]
    owner = np.repeat(np.arange(len(conditions)), [len(stimuli[name]) for name in conditions])
    moments = {name: Moments(layout.n_units) for name in conditions}
    total = np.zeros(layout.n_units)
    for batch in adapter.activations(flat, layout, Readout.of(contrast.read)):
        total += batch.values.sum(axis=0, dtype=np.float64)
        for number in np.unique(owner[batch.indices]):
            chosen = batch.values[owner[batch.indices] == number]
            moments[conditions[number]].add(response_of(chosen, contrast))
        progress(len(batch.indices))
    # a unit with a non-finite activation has no mean; mean ablation then silences it
    return moments, np.nan_to_num(total / len(flat), nan=0.0, posinf=0.0, neginf=0.0)


def response_of(
    values: Float[np.ndarray, "stimulus unit"], contrast: Contrast
) -> Float[np.ndarray, "stimulus unit"]:
    """Return activations as the contrast reads them: absolute or signed."""
    return np.abs(values) if contrast.read.response == "abs" else values


def compare(contrast: Contrast, moments: Mapping[str, Moments]) -> tuple[Vector, Vector, Vector]:
    """Return t, df and d of the contrast per unit from the moments of every condition.

    Units are worked on a slice at a time to save memory.
    """
    n_units = len(next(iter(moments.values())).mean)
    t, df, d = np.empty(n_units), np.empty(n_units), np.empty(n_units)
    for here in slices(n_units):
        part = {name: m.part(here) for name, m in moments.items()}
        t[here], df[here], d[here] = _compare_units(contrast, part)
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
    results = []
    for samples, weights in _comparisons(contrast, moments):
        t, df = stats.contrast_t(samples, weights)
        results.append((t, df, stats.cohens_d(samples, weights)))
    worst = np.argmin([t for t, _, _ in results], axis=0)[None]
    t, df, d = (np.take_along_axis(np.stack(v), worst, 0)[0] for v in zip(*results, strict=True))
    return t, df, d


def _comparisons(
    contrast: Contrast, moments: Mapping[str, Moments]
) -> list[tuple[list[Moments], list[float]]]:
    """Return the samples and weights of every comparison that the contrast consists of."""
    said = contrast.comparison
    if said.weights is not None:
        return [([moments[name] for name in said.weights], list(said.weights.values()))]
    positive = stats.pooled([moments[name] for name in said.positive])
    negative = [moments[name] for name in said.negative]
    others = negative if contrast.against == "each" else [stats.pooled(negative)]
    return [([positive, other], [1.0, -1.0]) for other in others]


def _adjusted(p: Vector, layout: Layout) -> Vector:
    """Return q, adjusted within each kind of site: kinds are selected separately."""
    q = np.empty_like(p)
    for kind in layout.kinds:
        here = layout.of_kind(kind)
        q[here] = stats.benjamini_hochberg(p[here])
    return q
