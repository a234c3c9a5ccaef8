"""Bootstrap intervals, many at once, against one at a time in the plainest code."""

import tracemalloc
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deeploc.core import bootstrap
from deeploc.core.bootstrap import Interval, change, intervals


@dataclass(frozen=True)
class Amounts:
    """A ratio over items."""

    amount: np.ndarray
    weight: np.ndarray
    exponential: bool = False


def reference(ratio: Amounts, seed: int) -> Interval:
    """Return the interval of one ratio from all resamples at once, integer counts and all."""
    n = len(ratio.amount)
    counts = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1 / n), size=1000)
    value = reference_values(ratio, np.ones((1, n), dtype=np.int64)).item()
    low, high = np.percentile(reference_values(ratio, counts), [2.5, 97.5], method="nearest")
    return Interval(value, float(low), float(high))


def reference_values(ratio: Amounts, counts: np.ndarray) -> np.ndarray:
    finite = np.isfinite(ratio.amount)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0 / 0 and inf - inf are part of the question
        total = counts @ np.where(finite, ratio.amount, 0.0)
        broken = counts[:, ~finite].any(axis=1)
        total = np.where(broken, ratio.amount[~finite].sum(), total)
        value = total / (counts @ ratio.weight)
        return np.exp(value) if ratio.exponential else value


def assert_equal(measured: Interval, expected: Interval, scale: float = 0.0) -> None:
    """Rounding apart: sums of items of the size ``scale`` may cancel."""
    assert measured.value == expected.value or np.isnan([measured.value, expected.value]).all()
    bounds = ([i.low, i.high] for i in (measured, expected))
    np.testing.assert_allclose(*bounds, rtol=1e-12, atol=1e-13 * scale)


@st.composite
def ratios(draw: st.DrawFn) -> Amounts:
    n = draw(st.integers(1, 80))
    special = st.sampled_from([np.inf, -np.inf, np.nan, 0.0, 1.0])
    amount = arrays.arrays(np.float64, n, elements=st.floats(-50, 50, width=32) | special)
    weight = arrays.arrays(np.float64, n, elements=st.integers(0, 9).map(float))
    return Amounts(draw(amount), draw(weight), draw(st.booleans()))


@settings(max_examples=40, deadline=None)
@given(st.lists(ratios(), max_size=6), st.integers(0, 3))
def test_many_at_once_equal_one_at_a_time(many: list[Amounts], seed: int) -> None:
    """Of any sizes, with amounts that are not finite and weights that are zero."""
    for measured, ratio in zip(intervals(many, seed), many, strict=True):
        assert_equal(measured, reference(ratio, seed), scale=50.0)


@pytest.mark.parametrize("n", [60, 240, 2500])
def test_scores_of_tasks(n: int, rng: np.random.Generator) -> None:
    """Hits, margins, nats per token and perplexity; hits to the last bit."""
    tokens = rng.integers(1, 30, n).astype(float)
    hits = Amounts((rng.random(n) < 0.7).astype(float), np.ones(n))
    margin = Amounts(rng.normal(1, 3, n), np.ones(n))
    nll = rng.gamma(5, size=n) * tokens
    many = [hits, margin, Amounts(nll, tokens), Amounts(nll, tokens, True)]
    measured = intervals(many, 7)

    assert measured[0] == reference(hits, 7)
    for one, ratio in zip(measured, many, strict=True):
        assert_equal(one, reference(ratio, 7))


def test_two_items_by_hand() -> None:
    """Of two items each resample has the first twice, the second twice, or both."""
    (interval,) = intervals([Amounts(np.array([0.0, 3.0]), np.array([1.0, 2.0]))])

    assert interval == Interval(1.0, 0.0, 1.5)


def test_infinite_item_makes_its_resamples_infinite() -> None:
    """It is in 68 % of the resamples of four items, so the low bound is finite, the high is not."""
    amount = np.array([1.0, np.inf, 1.0, 1.0])
    (interval,) = intervals([Amounts(amount, np.ones(4))])

    assert (interval.value, interval.low, interval.high) == (np.inf, 1.0, np.inf)


def test_ratios_do_not_depend_on_each_other(rng: np.random.Generator) -> None:
    """Alone, in another order, or beside one that is infinite: the same but for rounding."""
    many = [Amounts(rng.normal(size=40), np.ones(40)) for _ in range(5)]
    broken = Amounts(np.full(40, np.inf), np.ones(40))
    together = intervals([broken, *many[::-1]])[:0:-1]

    for one, ratio in zip(together, many, strict=True):
        assert_equal(one, intervals([ratio])[0], scale=1.0)


@pytest.mark.parametrize("n", [1, 60, 1500, 3000])
def test_resamples_sampled_in_parts_equal_those_sampled_at_once(n: int) -> None:
    """NumPy's generator goes through resamples one after another."""
    at_once = np.random.default_rng([5, n]).multinomial(n, np.full(n, 1 / n), size=1000)
    in_parts = np.concatenate(list(bootstrap._counts(n, 5)))

    assert (in_parts == at_once).all()


def test_dropped_resamples_are_sampled_again() -> None:
    """Counts that the cache has dropped are sampled again, the same."""
    few = bootstrap._Resamples(n_bytes=200_000)
    first = few.get(100, 1).copy()
    for n in (50, 120, 150):
        few.get(n, 1)

    assert (few.get(100, 1) == first).all()
    assert (few.get(100, 2) != first).any()


def test_memory_is_bounded(rng: np.random.Generator) -> None:
    """20,000 items, of which all resamples would be 160 MB: less than 64 MB at the peak."""
    many = [Amounts(rng.normal(size=20_000), np.ones(20_000)) for _ in range(4)]
    tracemalloc.start()
    try:
        intervals(many, seed=11)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64e6


@pytest.mark.parametrize("exponential", [False, True])
def test_a_change_is_resampled_over_pairs(rng: np.random.Generator, exponential: bool) -> None:
    """The same resamples of both, one difference each; against the plainest code."""
    weight = rng.integers(1, 9, size=40).astype(np.float64)
    before, after = (Amounts(rng.normal(size=40), weight, exponential) for _ in range(2))
    counts = np.random.default_rng([5, 40]).multinomial(40, np.full(40, 1 / 40), size=1000)
    changes = reference_values(after, counts) - reference_values(before, counts)
    value = (reference_values(r, np.ones((1, 40), dtype=np.int64)).item() for r in (after, before))
    low, high = np.percentile(changes, [2.5, 97.5], method="nearest")

    measured = change(before, after, seed=5)

    assert measured.value == pytest.approx(np.subtract(*value))
    assert (measured.low, measured.high) == pytest.approx((low, high))


def test_a_change_of_all_items_alike_is_certain(rng: np.random.Generator) -> None:
    """Items that differ among each other, but not in their change, leave no uncertainty."""
    amount, ones = rng.normal(size=30), np.ones(30)
    measured = change(Amounts(amount, ones), Amounts(amount + 2, ones))

    assert (measured.value, measured.low, measured.high) == pytest.approx((2, 2, 2))


def test_what_stays_infinite_does_not_change() -> None:
    """Infinity minus itself is 0; a value that becomes infinite, or no number, changes as much."""
    ones = np.ones(3)
    infinite, broken = (Amounts(np.full(3, v), ones) for v in (np.inf, np.nan))

    assert change(infinite, infinite) == Interval(0.0, 0.0, 0.0)
    assert change(Amounts(ones, ones), infinite) == Interval(np.inf, np.inf, np.inf)
    assert np.isnan(change(Amounts(ones, ones), broken).value)


def test_a_change_is_over_the_same_items() -> None:
    """Other numbers of items are refused."""
    with pytest.raises(ValueError, match="over the same items, got 2 and 3"):
        change(Amounts(np.ones(2), np.ones(2)), Amounts(np.ones(3), np.ones(3)))
