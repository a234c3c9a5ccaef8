"""Select units by a score per unit.

Every function takes a *ranking*: anything with a ``layout`` and one score per unit (a StatMap,
whose scores are t, or `UnitScores`), and ``among``: the units that may be selected (default: all).
A unit whose score is nan (a non-finite activation) is never selected, nor is one that does not
vary over the stimuli (`StatMap.constant`).
"""

import numpy as np
from jaxtyping import Int

from deeploc.core.selectable import Ranking, n_selectable, scored, selectable
from deeploc.core.units import Layout, Selection, StatMap, UnitMask

Indices = Int[np.ndarray, " selected"]


def count_of(percent: float, n_units: int) -> int:
    """Return how many units ``percent`` (0-100) of ``n_units`` are, rounded down.

    Source: ``localize.py`` of BKHMSI/llm-localization (ff6d4f9) computes
    ``int(percent / 100 * units)``; the same float expression keeps the same rounding.

    Parameters
    ----------
    percent
        0-100.
    n_units
        The number that the percentage is of.

    Raises
    ------
    ValueError
        If ``percent`` is outside 0-100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must lie between 0 and 100, got {percent}")
    return int((percent / 100) * n_units)


def top_k(ranking: Ranking, k: int, among: Selection | None = None) -> UnitMask:
    """Select exactly the ``k`` units with the largest score; ties go to the lower index.

    Parameters
    ----------
    ranking
        One score per unit, e.g. a StatMap (t).
    k
        How many units, from 0 to the number of units with a score.
    among
        Boolean ``(unit,)``: the units that may be selected; default all.

    Raises
    ------
    ValueError
        If there are not so many units with a score.
    """
    return _mask(ranking.layout, _ranked(ranking, among, sign=-1)[: _valid_k(k, ranking, among)])


def bottom_k(ranking: Ranking, k: int, among: Selection | None = None) -> UnitMask:
    """Select exactly the ``k`` units with the smallest score: those that prefer the other side.

    Parameters
    ----------
    ranking, k, among
        As for `top_k`.

    Raises
    ------
    ValueError
        If there are not so many units with a score.
    """
    return _mask(ranking.layout, _ranked(ranking, among, sign=1)[: _valid_k(k, ranking, among)])


def top_percent(ranking: Ranking, percent: float, among: Selection | None = None) -> UnitMask:
    """Select the ``percent`` of all units with the largest score, rounded down.

    Units without a score count in the percentage and are never selected: of 100 % all the others.

    Parameters
    ----------
    ranking, among
        As for `top_k`.
    percent
        0-100, of the units in ``among``.

    Raises
    ------
    ValueError
        If ``percent`` is outside 0-100.
    """
    return top_k(ranking, _share(ranking, percent, among), among)


def bottom_percent(ranking: Ranking, percent: float, among: Selection | None = None) -> UnitMask:
    """Select the ``percent`` of all units with the smallest score, rounded down.

    Parameters
    ----------
    ranking, percent, among
        As for `top_percent`.

    Raises
    ------
    ValueError
        If ``percent`` is outside 0-100.
    """
    return bottom_k(ranking, _share(ranking, percent, among), among)


def fdr(stat_map: StatMap, alpha: float = 0.05, among: Selection | None = None) -> UnitMask:
    """Select the units with t > 0 whose Benjamini-Hochberg q is at most ``alpha``.

    ``StatMap.q`` is adjusted over the sites of one kind, whichever they are.

    Parameters
    ----------
    stat_map
        The statistics.
    alpha
        The false discovery rate, strictly between 0 and 1.
    among
        Boolean ``(unit,)``: the units that may be selected; default all.

    Raises
    ------
    ValueError
        If ``alpha`` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    with np.errstate(invalid="ignore"):
        hits = (stat_map.t > 0) & (stat_map.q <= alpha)
    return UnitMask(stat_map.layout, hits if among is None else hits & among)


def between_percentiles(
    ranking: Ranking, low: float, high: float, among: Selection | None = None
) -> Selection:
    """Return which units have a score between two percentiles of the scores, both included.

    Units that do not vary over the stimuli count in the percentiles, with 0, and are left out.

    Parameters
    ----------
    ranking, among
        As for `top_k`.
    low, high
        Percentiles, 0 <= low <= high <= 100.

    Raises
    ------
    ValueError
        If these are no percentiles in rising order.
    """
    if not 0 <= low <= high <= 100:
        raise ValueError(f"percentiles must satisfy 0 <= low <= high <= 100, got {low}, {high}")
    having = scored(ranking, among)
    if not having.any():
        return having
    bounds = np.percentile(ranking.scores[having], [low, high])
    allowed = selectable(ranking, among)
    inside: Selection = allowed & (ranking.scores >= bounds[0]) & (ranking.scores <= bounds[1])
    return inside


def percentile_range(
    ranking: Ranking,
    low: float,
    high: float,
    k: int | None = None,
    *,
    seed: int = 42,
    among: Selection | None = None,
) -> UnitMask:
    """Select units whose score lies between two percentiles, both included: all, or ``k`` sampled.

    The sample uses NumPy's legacy generator, whose stream is frozen, so that ``seed=42`` gives the
    very units that ``localize.py`` of BKHMSI/llm-localization samples with ``--localize-range``.

    Parameters
    ----------
    ranking, among
        As for `top_k`.
    low, high
        Percentiles, 0 <= low <= high <= 100.
    k
        How many units to sample; None: all of them.
    seed
        Of the sample.

    Raises
    ------
    ValueError
        If these are no percentiles, or fewer than ``k`` units lie between them.
    """
    inside = np.flatnonzero(between_percentiles(ranking, low, high, among))
    if k is None:
        return _mask(ranking.layout, inside)
    if k > inside.size:
        raise ValueError(f"cannot sample {k} units: only {inside.size} lie between the percentiles")
    sampled = np.random.RandomState(seed).choice(inside, k, replace=False)
    return _mask(ranking.layout, sampled)


def expected_per_site(mask: UnitMask) -> dict[str, float]:
    """Return how many selected units each site would hold if they were spread by chance."""
    share = len(mask) / mask.layout.n_units
    return {site.name: site.n_units * share for site in mask.layout.sites}


def _share(ranking: Ranking, percent: float, among: Selection | None) -> int:
    n_units = ranking.layout.n_units if among is None else int(among.sum())
    return min(count_of(percent, n_units), n_selectable(ranking, among))


def _ranked(ranking: Ranking, among: Selection | None, sign: int) -> Indices:
    candidates = np.flatnonzero(selectable(ranking, among))
    order = np.argsort(sign * ranking.scores[candidates], kind="stable")
    ranked: Indices = candidates[order]
    return ranked


def _valid_k(k: int, ranking: Ranking, among: Selection | None) -> int:
    n = n_selectable(ranking, among)
    if not 0 <= k <= n:
        raise ValueError(
            f"k must lie between 0 and the number of units with a score ({n}), got {k}"
        )
    return k


def _mask(layout: Layout, indices: Indices) -> UnitMask:
    selected = np.zeros(layout.n_units, dtype=bool)
    selected[indices] = True
    return UnitMask(layout, selected)
