import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as reference

from deeploc.core import stats
from deeploc.core.multiplicity import (
    SequentialTest,
    benjamini_hochberg,
    benjamini_yekutieli,
    empirical_p,
    holm,
)

Adjust = Callable[[np.ndarray], np.ndarray]
adjustments = pytest.mark.parametrize("adjust", [benjamini_hochberg, benjamini_yekutieli, holm])


def probabilities(most: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(float, st.integers(1, most), elements=st.floats(0, 1, allow_subnormal=False))


@given(probabilities(60))
def test_q_is_scipys(p: np.ndarray) -> None:
    """Both false discovery rates equal scipy's adjusted p for any p values."""
    expected = reference.false_discovery_control

    np.testing.assert_allclose(benjamini_hochberg(p), expected(p), rtol=1e-12)
    np.testing.assert_allclose(benjamini_yekutieli(p), expected(p, method="by"), rtol=1e-12)


@given(probabilities(6))
def test_holm_is_the_closed_bonferroni_test(p: np.ndarray) -> None:
    """A hypothesis falls where Bonferroni rejects every set of hypotheses that holds it."""
    sets = [s for size in range(1, p.size + 1) for s in combinations(range(p.size), size)]
    expected = [
        max(min(1, len(s) * p[list(s)].min()) for s in sets if i in s) for i in range(p.size)
    ]

    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


@adjustments
def test_what_has_no_p_is_no_test(adjust: Adjust) -> None:
    """Dead units neither crash the correction nor make it stricter, and give no warning."""
    p = np.array([0.01, np.nan, 0.04, np.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adjusted, none = adjust(p), adjust(p[[1, 3]])

    np.testing.assert_array_equal(adjusted[[0, 2]], adjust(p[[0, 2]]))
    assert np.isnan(adjusted[[1, 3]]).all()
    assert np.isnan(none).all()


@adjustments
def test_adjusting_does_not_depend_on_slices(
    adjust: Adjust, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tests at a time give what all seven at once give, to the last bit."""
    p = rng.uniform(size=7)
    whole = adjust(p)
    monkeypatch.setattr(stats, "SLICE", 2)

    np.testing.assert_array_equal(adjust(p), whole)


@pytest.mark.parametrize(
    ("observed", "expected"), [(5.0, 1 / 5), (2.0, 4 / 5), (0.0, 1.0), (3.0, 3 / 5), (np.nan, 1.0)]
)
def test_empirical_p_counts_ties_as_damage(observed: float, expected: float) -> None:
    """p is (1 + controls at least as large) / (1 + N); never 0, and 1 for what is no number."""
    assert empirical_p(observed, [1.0, 2.0, 3.0, 3.0]) == expected


def test_controls_are_drawn_until_enough_do_as_much() -> None:
    """The third hit at draw 5 of 9 ends the test: p is 3 / 5, whatever is drawn after it."""
    test, null = SequentialTest(hits=3, most=9), [0.0, 1.0, 0.5, 2.0, 1.0]

    assert [test.is_decided(1.0, null[:n]) for n in range(6)] == [False] * 5 + [True]
    assert test.p(1.0, null) == 3 / 5
    assert test.p(1.0, [*null, 3.0, 3.0]) == 3 / 5
    assert test.p(1.0, null[:4]) == empirical_p(1.0, null[:4])  # interrupted


def test_without_enough_hits_all_controls_count() -> None:
    """199 draws with fewer than five hits: (1 + hits) / 200, also where draws were wasted."""
    test, null = SequentialTest(), [1.0] * 4 + [0.0] * 195

    assert not test.is_decided(1.0, null[:198])
    assert test.is_decided(1.0, null)
    assert test.p(1.0, null) == test.p(1.0, [*null, 1.0]) == 5 / 200
    assert test.p(1.0, [0.0] * 199) == 0.005


@pytest.mark.parametrize("rule", [{"hits": 0}, {"most": 0}])
def test_a_test_without_draws_is_refused(rule: dict[str, int]) -> None:
    """Nothing could decide it, or everything would before the first draw."""
    with pytest.raises(ValueError, match="at least one hit and one draw, got hits"):
        SequentialTest(**rule)


def sequential_p(test: SequentialTest, values: Sequence[float]) -> Fraction:
    """Return p when the first value is observed and the others are drawn, one at a time."""
    observed, n = values[0], 0
    while not test.is_decided(observed, values[1 : n + 1]):
        n += 1
    return Fraction(test.p(observed, values[1 : n + 1])).limit_denominator(1000)


def share_at_most(null: Mapping[Fraction, Fraction | int], p: Fraction) -> Fraction:
    return Fraction(sum(n for value, n in null.items() if value <= p)) / sum(null.values())


@pytest.mark.parametrize("hits", [1, 2, 4, 9])
@pytest.mark.parametrize("values", [(0, 1, 2, 3, 4, 5), (0, 0, 0, 1, 1, 2), (1, 1, 1, 1, 1, 1)])
def test_every_order_of_exchangeable_values(hits: int, values: tuple[int, ...]) -> None:
    """All 720 orders: P(p <= a) <= a for every p that occurs, and equal where none are tied."""
    test = SequentialTest(hits=hits, most=5)
    null = Counter(sequential_p(test, [float(v) for v in order]) for order in permutations(values))

    for p in null:
        assert share_at_most(null, p) <= p
        assert share_at_most(null, p) == p or len(set(values)) < 6


def ends(test: SequentialTest) -> Iterator[tuple[list[float], Fraction]]:
    """Yield one sequence of controls for every end of a test, and its exact probability.

    Under exchangeability without ties the place of the observed among n controls is uniform, so
    that after k hits in n draws the next one is a hit with probability (k + 1) / (n + 2).
    """
    states = {0: Fraction(1)}
    for n in range(test.most):
        reached: defaultdict[int, Fraction] = defaultdict(Fraction)
        for k, probability in states.items():
            hit = probability * Fraction(k + 1, n + 2)
            reached[k] += probability - hit
            reached[k + 1] += hit
        if test.hits in reached:
            before = [1.0] * (test.hits - 1) + [0.0] * (n + 1 - test.hits)
            yield [*before, 1.0], reached.pop(test.hits)
        states = reached
    for k, probability in states.items():
        yield [1.0] * k + [0.0] * (test.most - k), probability


def test_the_default_test_is_exact() -> None:
    """Five hits or 199 draws: P(p <= a) = a for all 200 values of p; 23 draws on average."""
    test, draws = SequentialTest(), Fraction(0)
    null: defaultdict[Fraction, Fraction] = defaultdict(Fraction)
    for controls, probability in ends(test):
        assert test.is_decided(1.0, controls)
        assert not test.is_decided(1.0, controls[:-1])
        null[Fraction(test.p(1.0, controls)).limit_denominator(1000)] += probability
        draws += probability * len(controls)

    assert sum(null.values()) == 1
    assert len(null) == 200
    assert all(share_at_most(null, p) == p for p in null)
    assert round(draws) == 23
