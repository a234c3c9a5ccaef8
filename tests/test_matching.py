from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeploc.core.matching import lowest_like, magnitude_like, random_global, random_like
from deeploc.core.units import Layout, Site, UnitMask

TWO_SITES = Layout((Site("a", "block", 8), Site("b", "block", 12)))


def one_site(n_units: int) -> Layout:
    return Layout((Site("h.0", "block", n_units),))


def mask_of(units: Iterable[int], layout: Layout) -> UnitMask:
    return UnitMask(layout, np.isin(np.arange(layout.n_units), list(units)))


def units(mask: UnitMask) -> list[int]:
    return np.flatnonzero(mask.selected).tolist()


@given(hnp.arrays(bool, 20), st.integers(0, 5))
def test_random_control_matches_every_site(selected: np.ndarray, seed: int) -> None:
    """As many units in each site, and none of the mask's unless the site has no others."""
    sites = Layout((Site("a", "block", 8), Site("b", "block", 12)))
    mask = UnitMask(sites, selected)
    control = random_like(mask, seed)

    for site in sites.sites:
        taken, sampled = mask.at(site.name), control.at(site.name)
        assert sampled.sum() == taken.sum()
        assert (sampled & taken).sum() == max(0, 2 * taken.sum() - site.n_units)


def test_random_global_control_is_disjoint_and_seeded() -> None:
    """The total matches, no unit is shared, another seed gives another mask."""
    mask = mask_of(range(70, 100), one_site(100))
    masks = [random_global(mask, seed) for seed in (1, 1, 2)]

    assert [len(m) for m in masks] == [30, 30, 30]
    assert not (masks[0].selected & mask.selected).any()
    assert (masks[0].selected == masks[1].selected).all()
    assert (masks[0].selected != masks[2].selected).any()


def test_lowest_scores_are_taken_at_every_site() -> None:
    """Two of the first site and one of the second, wherever the smallest of all are."""
    scores = np.arange(20.0)[::-1].copy()

    assert units(lowest_like(mask_of([0, 1, 8], TWO_SITES), scores)) == [6, 7, 19]


def test_lowest_scores_are_others_and_known_ones() -> None:
    """Selected units and those without a score are passed over; ties go to the lower index."""
    scores = np.array([0.0, np.nan, 1.0, 2.0, 2.0, 2.0, 9.0, 9.0])
    layout = one_site(8)

    assert units(lowest_like(mask_of([0, 6, 7], layout), scores)) == [2, 3, 4]


@given(
    hnp.arrays(bool, 20),
    hnp.arrays(float, 20, elements=st.sampled_from([0.0, 1.0, 2.0, 5.0, np.nan])),
    st.integers(0, 5),
)
def test_magnitude_control_matches_every_site(
    selected: np.ndarray, magnitude: np.ndarray, seed: int
) -> None:
    """As many units at each site, none of the mask's and none without a magnitude, or a refusal."""
    mask, known = UnitMask(TWO_SITES, selected), ~np.isnan(magnitude)
    free = UnitMask(TWO_SITES, known & ~selected)
    if any(free.at(site).sum() < mask.at(site).sum() for site in "ab"):
        with pytest.raises(ValueError, match=r"site [ab] has \d+ selected units and \d+ others"):
            magnitude_like(mask, magnitude, seed)
        return
    control = magnitude_like(mask, magnitude, seed)

    assert [control.at(site).sum() for site in "ab"] == [mask.at(site).sum() for site in "ab"]
    assert not np.any(control.selected & ~free.selected)
    np.testing.assert_array_equal(control.selected, magnitude_like(mask, magnitude, seed).selected)


@given(st.permutations(range(100)), st.sets(st.integers(0, 9)), st.integers(0, 5))
def test_magnitude_control_matches_every_decile(
    magnitude: list[int], chosen: set[int], seed: int
) -> None:
    """Up to half the ten units of any decile are answered by as many others of that decile."""
    deciles = np.array(magnitude) // 10
    mask = UnitMask(
        one_site(100), (deciles % 2 == 0) & np.isin(np.array(magnitude) % 10, [*chosen][:5])
    )
    control = magnitude_like(mask, np.array(magnitude, dtype=float), seed)

    np.testing.assert_array_equal(
        np.bincount(deciles[control.selected], minlength=10),
        np.bincount(deciles[mask.selected], minlength=10),
    )


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ([18, 19], {(16, 17)}),
        ([16, 18, 19], {(14, 15, 17)}),
        ([0, 1], {(2, 3)}),
        ([10, 11], {(8, 9), (8, 12), (8, 13), (9, 12), (9, 13), (12, 13)}),
    ],
    ids=["one below", "two below", "one above", "either side"],
)
def test_a_full_decile_is_widened(selected: list[int], expected: set[tuple[int, ...]]) -> None:
    """Deciles of two units: what one lacks comes from the nearest ones, never from further away."""
    mask = mask_of(selected, one_site(20))
    drawn = {tuple(units(magnitude_like(mask, np.arange(20.0), seed))) for seed in range(100)}

    assert drawn == expected


def test_every_unit_alike_can_be_drawn() -> None:
    """Equal magnitudes are in one decile; a unit that overflowed counts in the highest."""
    silent = {
        units(magnitude_like(mask_of([3], one_site(8)), np.zeros(8), s))[0] for s in range(99)
    }
    magnitude = np.array([np.nan, *range(1, 20)])
    huge = {units(magnitude_like(mask_of([0], one_site(20)), magnitude, s))[0] for s in range(99)}

    assert silent == {0, 1, 2, 4, 5, 6, 7}
    assert huge == {18, 19}


def test_too_few_others_at_a_site_are_told() -> None:
    """The message names the site and both numbers."""
    mask = mask_of(range(5), TWO_SITES)
    with pytest.raises(ValueError, match="site a has 5 selected units and 3 others to choose from"):
        lowest_like(mask, np.zeros(20))
