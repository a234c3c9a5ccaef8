"""Units chosen in the image of a mask: as many of them, where the mask has its own."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int

from deeploc.core.units import Selection, UnitMask, Vector

Seed = int | Sequence[int]

N_BINS = 10
"""Magnitudes are matched by decile."""

_SiteMask = Bool[np.ndarray, " site_unit"]
_SiteVector = Float64[np.ndarray, " site_unit"]
_Bins = Int[np.ndarray, " site_unit"]


def random_like(mask: UnitMask, seed: Seed) -> UnitMask:
    """Select as many units per site as ``mask`` does, at random, none of them in ``mask``.

    Stricter than ``random_mask.py`` of BKHMSI/llm-localization, which matches only the total: a
    control that lands in other layers differs from the mask in two ways, not one. Where a site
    has too few other units (more than half selected), all of these are taken and the rest comes
    from the selected ones.

    Parameters
    ----------
    mask
        The units to match.
    seed
        One number or several; equal seeds give equal units.
    """
    rng = np.random.default_rng(seed)
    return _at_every_site(mask, lambda _, taken: _sampled_like(taken, rng))


def random_global(mask: UnitMask, seed: Seed, among: Selection | None = None) -> UnitMask:
    """Select as many units as ``mask`` does from all others, wherever they lie.

    The control of AlKhamissi et al. (2025): uniform over the complement of the mask.

    Parameters
    ----------
    mask
        The units whose number is matched.
    seed
        One number or several; equal seeds give equal units.
    among
        Boolean ``(unit,)``: the units to sample from; default all.

    Raises
    ------
    ValueError
        If fewer units are left than are selected.
    """
    pool = np.flatnonzero(~mask.selected if among is None else among & ~mask.selected)
    if len(mask) > pool.size:
        raise ValueError(
            f"cannot sample {len(mask)} control units: only {pool.size} are unselected"
        )
    sampled = np.random.default_rng(seed).choice(pool, len(mask), replace=False)
    selected = np.zeros(mask.layout.n_units, dtype=bool)
    selected[sampled] = True
    return UnitMask(mask.layout, selected)


def lowest_like(mask: UnitMask, scores: Vector) -> UnitMask:
    """Select as many units per site as ``mask`` does, those with the smallest score.

    None of them is in ``mask`` and none without a score (nan); ties go to the lower index.

    Parameters
    ----------
    mask
        The units to match.
    scores
        ``(unit,)``, e.g. t: the smallest prefer the other side the most.

    Raises
    ------
    ValueError
        If a site has fewer other units with a score than units of the mask.
    """

    def lowest(site: str, taken: _SiteMask) -> _SiteMask:
        at_site = scores[mask.layout.slices[site]]
        free = np.flatnonzero(~taken & ~np.isnan(at_site))
        _check_enough(site, free.size, taken)
        order = np.argsort(at_site[free], kind="stable")
        return _chosen(taken.size, free[order[: np.count_nonzero(taken)]])

    return _at_every_site(mask, lowest)


def magnitude_like(mask: UnitMask, magnitude: Vector, seed: Seed) -> UnitMask:
    """Select as many units per site and decile of magnitude as ``mask`` does, at random.

    Selected units are larger than others, and silencing large units does more, whatever they are
    for. So for every unit of the mask a random one outside it is drawn from the same decile of
    the magnitudes at its site. Where a decile has too few, the rest is drawn from the deciles
    beside it, then from those two away, and so on. A unit of the mask without a magnitude (nan,
    as for one that overflowed) counts in the highest decile.

    Parameters
    ----------
    mask
        The units to match.
    magnitude
        ``(unit,)``, the mean absolute activation; a unit where it is nan is never drawn.
    seed
        One number or several; equal seeds give equal units.

    Raises
    ------
    ValueError
        If a site has fewer other units with a magnitude than units of the mask.
    """
    rng = np.random.default_rng(seed)

    def alike(site: str, taken: _SiteMask) -> _SiteMask:
        at_site = magnitude[mask.layout.slices[site]]
        free = ~taken & ~np.isnan(at_site)
        _check_enough(site, int(np.count_nonzero(free)), taken)
        return _drawn_by_bin(_bins(at_site), taken, free, rng)

    return _at_every_site(mask, alike)


def _bins(magnitude: _SiteVector) -> _Bins:
    """Return the decile of every unit, 0 to 9: equal magnitudes are in the same; nan is in 9."""
    known = magnitude[~np.isnan(magnitude)]
    edges = np.quantile(known, np.arange(1, N_BINS) / N_BINS)
    return np.searchsorted(edges, magnitude, side="right")


def _drawn_by_bin(
    bins: _Bins, taken: _SiteMask, free: _SiteMask, rng: np.random.Generator
) -> _SiteMask:
    """Draw one free unit for every taken one, from its own bin or the nearest that has some."""
    wanted = np.bincount(bins[taken], minlength=N_BINS)
    drawn = np.zeros_like(taken)
    for distance, place in _outwards():
        if wanted[place]:
            pool = np.flatnonzero(free & ~drawn & (np.abs(bins - place) == distance))
            candidates = rng.choice(pool, min(wanted[place], pool.size), replace=False)
            drawn[candidates] = True
            wanted[place] -= candidates.size
    return drawn


def _outwards() -> Iterator[tuple[int, int]]:
    """Yield (distance, bin): every bin itself before its neighbours, and these before others."""
    yield from ((distance, place) for distance in range(N_BINS) for place in range(N_BINS))


def _sampled_like(taken: _SiteMask, rng: np.random.Generator) -> _SiteMask:
    free, wanted = np.flatnonzero(~taken), int(taken.sum())
    sampled = rng.choice(free, min(wanted, free.size), replace=False)
    rest = rng.choice(np.flatnonzero(taken), wanted - sampled.size, replace=False)
    return _chosen(taken.size, np.concatenate([sampled, rest]))


def _chosen(n_units: int, indices: Int[np.ndarray, " chosen"]) -> _SiteMask:
    chosen = np.zeros(n_units, dtype=bool)
    chosen[indices] = True
    return chosen


def _check_enough(site: str, n_free: int, taken: _SiteMask) -> None:
    n_taken = int(np.count_nonzero(taken))
    if n_free < n_taken:
        raise ValueError(
            f"site {site} has {n_taken} selected units and {n_free} others to choose from"
        )


def _at_every_site(mask: UnitMask, choose: Callable[[str, _SiteMask], _SiteMask]) -> UnitMask:
    """Return the mask that ``choose`` makes, site by site, of a site's name and its own units."""
    selected = mask.selected.copy()
    for site in mask.layout.sites:
        taken = mask.at(site.name)
        if taken.any():
            selected[mask.layout.slices[site.name]] = choose(site.name, taken)
    return UnitMask(mask.layout, selected)
