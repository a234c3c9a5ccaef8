"""Turn a statistic per unit into a mask of units, and a mask into its controls.

Every function takes ``among``: the units that may be selected (default all). A unit whose t is
nan (a non-finite activation) is never selected.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from deeploc.core.units import Layout, Selection, StatMap, UnitMask

Indices = Int[np.ndarray, " selected"]
Seed = int | Sequence[int]


def count_of(percent: float, n_units: int) -> int:
    """Return how many units ``percent`` (0-100) of ``n_units`` are, rounded down.

    Source: ``localize.py`` of BKHMSI/llm-localization (ff6d4f9) computes
    ``int(percent / 100 * units)``; the same float expression keeps the same rounding.

    Raises
    ------
    ValueError
        If ``percent`` is outside 0-100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must lie between 0 and 100, got {percent}")
    return int((percent / 100) * n_units)


def top_k(stat_map: StatMap, k: int, among: Selection | None = None) -> UnitMask:
    """Select exactly the ``k`` units with the largest t; ties go to the lower index."""
    return _mask(stat_map.layout, _ranked(stat_map, among, sign=-1)[: _valid_k(k, stat_map, among)])


def bottom_k(stat_map: StatMap, k: int, among: Selection | None = None) -> UnitMask:
    """Select exactly the ``k`` units with the smallest t: those that prefer the other side."""
    return _mask(stat_map.layout, _ranked(stat_map, among, sign=1)[: _valid_k(k, stat_map, among)])


def top_percent(stat_map: StatMap, percent: float, among: Selection | None = None) -> UnitMask:
    """Select the top ``percent`` (0-100) of all units by t, rounded down."""
    return top_k(stat_map, count_of(percent, _n(stat_map, among)), among)


def bottom_percent(stat_map: StatMap, percent: float, among: Selection | None = None) -> UnitMask:
    """Select the ``percent`` (0-100) of all units with the smallest t, rounded down."""
    return bottom_k(stat_map, count_of(percent, _n(stat_map, among)), among)


def fdr(stat_map: StatMap, alpha: float = 0.05, among: Selection | None = None) -> UnitMask:
    """Select the units with t > 0 whose Benjamini-Hochberg q is at most ``alpha`` (0-1).

    ``StatMap.q`` is adjusted over the sites of one kind, whichever they are.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    with np.errstate(invalid="ignore"):
        hits = (stat_map.t > 0) & (stat_map.q <= alpha)
    return UnitMask(stat_map.layout, hits if among is None else hits & among)


def percentile_range(
    stat_map: StatMap,
    low: float,
    high: float,
    k: int | None = None,
    *,
    seed: int = 42,
    among: Selection | None = None,
) -> UnitMask:
    """Select units whose t lies between two percentiles (0-100, inclusive); all, or ``k`` drawn.

    The draw uses NumPy's legacy generator, whose stream is frozen, so that ``seed=42`` gives the
    very units that ``localize.py`` of BKHMSI/llm-localization draws with ``--localize-range``.
    """
    if not 0 <= low <= high <= 100:
        raise ValueError(f"percentiles must satisfy 0 <= low <= high <= 100, got {low}, {high}")
    allowed = _allowed(stat_map, among)
    bounds = np.percentile(stat_map.t[allowed], [low, high])
    (inside,) = np.nonzero(allowed & (stat_map.t >= bounds[0]) & (stat_map.t <= bounds[1]))
    if k is None:
        return _mask(stat_map.layout, inside)
    if k > inside.size:
        raise ValueError(f"cannot draw {k} units: only {inside.size} lie between the percentiles")
    drawn = np.random.RandomState(seed).choice(inside, k, replace=False)
    return _mask(stat_map.layout, drawn)


def random_like(mask: UnitMask, seed: Seed) -> UnitMask:
    """Select as many units per site as ``mask`` does, at random, none of them in ``mask``.

    Stricter than ``random_mask.py`` of BKHMSI/llm-localization, which matches only the total: a
    control that lands in other layers differs from the mask in two ways, not one. Where a site
    has too few other units (more than half selected), all of these are taken and the rest comes
    from the selected ones.
    """
    rng = np.random.default_rng(seed)
    selected = [_draw(mask.at(site.name), rng) for site in mask.layout.sites]
    return UnitMask(mask.layout, np.concatenate(selected))


def random_global(mask: UnitMask, seed: Seed, among: Selection | None = None) -> UnitMask:
    """Select as many units as ``mask`` does from all others, wherever they lie.

    The control of AlKhamissi et al. (2025): uniform over the complement of the mask.
    """
    pool = np.flatnonzero(~mask.selected if among is None else among & ~mask.selected)
    if len(mask) > pool.size:
        raise ValueError(f"cannot draw {len(mask)} control units: only {pool.size} are unselected")
    drawn = np.random.default_rng(seed).choice(pool, len(mask), replace=False)
    return _mask(mask.layout, drawn)


def expected_per_site(mask: UnitMask) -> dict[str, float]:
    """Return how many selected units each site would hold if they were spread by chance."""
    share = len(mask) / mask.layout.n_units
    return {site.name: site.n_units * share for site in mask.layout.sites}


def _allowed(stat_map: StatMap, among: Selection | None) -> Selection:
    finite: Selection = ~np.isnan(stat_map.t)
    return finite if among is None else finite & among


def _n(stat_map: StatMap, among: Selection | None) -> int:
    return stat_map.layout.n_units if among is None else int(among.sum())


def _ranked(stat_map: StatMap, among: Selection | None, sign: int) -> Indices:
    candidates = np.flatnonzero(_allowed(stat_map, among))
    ranked: Indices = candidates[np.argsort(sign * stat_map.t[candidates], kind="stable")]
    return ranked


def _valid_k(k: int, stat_map: StatMap, among: Selection | None) -> int:
    n = int(_allowed(stat_map, among).sum())
    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and the number of units with a t ({n}), got {k}")
    return k


def _mask(layout: Layout, indices: Indices) -> UnitMask:
    selected = np.zeros(layout.n_units, dtype=bool)
    selected[indices] = True
    return UnitMask(layout, selected)


def _draw(
    taken: Bool[np.ndarray, " site_unit"], rng: np.random.Generator
) -> Bool[np.ndarray, " site_unit"]:
    free, wanted = np.flatnonzero(~taken), int(taken.sum())
    drawn = rng.choice(free, min(wanted, free.size), replace=False)
    rest = rng.choice(np.flatnonzero(taken), wanted - drawn.size, replace=False)
    control = np.zeros_like(taken)
    control[np.concatenate([drawn, rest])] = True
    return control
