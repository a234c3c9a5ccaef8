from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeploc.core import selection as select
from deeploc.core.units import Layout, Site, StatMap

from .conftest import stat_map_of


def one_site(t: list[float] | np.ndarray) -> StatMap:
    return stat_map_of(np.array(t, dtype=float), Layout((Site("h.0", "block", len(t)),)))


@given(hnp.arrays(float, 20, elements=st.sampled_from([0.0, 1.0, 2.0])), st.integers(0, 20))
def test_exactly_k_even_with_ties(t: np.ndarray, k: int) -> None:
    """Ties never change the number of units, and no unselected unit has a larger t."""
    mask = select.top_k(one_site(t), k)

    assert len(mask) == k
    if 0 < k < 20:
        assert t[mask.selected].min() >= t[~mask.selected].max()


def test_ties_go_to_the_lower_index() -> None:
    """Among equals the first units are taken, always."""
    assert select.top_k(one_site([1, 3, 3, 3]), 2).selected.tolist() == [False, True, True, False]
    assert select.bottom_k(one_site([1, 1, 1, 3]), 2).selected.tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_units_without_a_t_are_never_selected() -> None:
    """nan loses against everything, from either end."""
    stat_map = one_site([np.nan, -5, 2, np.nan])

    assert select.top_k(stat_map, 2).selected.tolist() == [False, True, True, False]
    assert select.bottom_k(stat_map, 1).selected.tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match=r"units with a score \(2\), got 3"):
        select.top_k(stat_map, 3)


@pytest.mark.parametrize(("percent", "n", "k"), [(1, 9216, 92), (0.125, 9216, 11), (100, 7, 7)])
def test_percent_rounds_down_like_the_original(percent: float, n: int, k: int) -> None:
    """1 % of GPT-2's 9,216 units are 92."""
    assert select.count_of(percent, n) == k


@pytest.mark.parametrize("percent", [-1, 140])
def test_impossible_percent_is_told(percent: float) -> None:
    """The message names the range and the value."""
    with pytest.raises(ValueError, match=f"between 0 and 100, got {percent}"):
        select.top_percent(one_site([1, 2]), percent)


def test_selection_within_a_kind(layout: Layout) -> None:
    """Units of another kind cannot be taken, however large their t."""
    stat_map = stat_map_of(np.arange(20.0), layout)
    mask = select.top_percent(stat_map, 25, layout.of_kind("mlp-neurons"))

    assert np.flatnonzero(mask.selected).tolist() == [6, 7]


def test_fdr_takes_positive_units_only() -> None:
    """A unit that prefers the control condition is not selected, however sure."""
    stat_map = one_site([5, -5, 1, np.nan])
    q = np.array([0.01, 0.01, 0.2, np.nan])
    stat_map = replace(stat_map, p=q, q=q)

    assert select.fdr(stat_map, 0.05).selected.tolist() == [True, False, False, False]


def test_percentile_range_is_the_originals_draw() -> None:
    """Seed 42 draws the units that NumPy's legacy choice draws from the range."""
    t = np.random.default_rng(1).normal(size=500)
    low, high = np.percentile(t, [80, 90])
    inside = np.flatnonzero((t >= low) & (t <= high))
    np.random.seed(42)  # noqa: NPY002 - the original's own call
    expected = np.random.choice(inside, 5, replace=False)  # noqa: NPY002

    sampled = select.percentile_range(one_site(t), 80, 90, 5, seed=42)
    assert set(np.flatnonzero(sampled.selected)) == set(expected)
    assert set(np.flatnonzero(select.percentile_range(one_site(t), 80, 90).selected)) == set(inside)
