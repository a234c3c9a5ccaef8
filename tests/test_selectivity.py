from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as reference

from deeploc.core import selectivity
from deeploc.core.selectivity import d_prime, mann_whitney, paired_t, selectivity_index
from deeploc.core.stats import Moments, cohens_d

levels = st.integers(0, 4).map(float)
"""Few values, so that most samples have ties."""

samples = st.tuples(
    hnp.arrays(float, st.tuples(st.integers(1, 12), st.just(3)), elements=levels),
    hnp.arrays(float, st.tuples(st.integers(1, 12), st.just(3)), elements=levels),
)


def moments_of(values: np.ndarray) -> Moments:
    moments = Moments(values.shape[1])
    with np.errstate(invalid="ignore"):
        moments.add(values)
    return moments


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_paired_t_is_scipys(rng: np.random.Generator, precision: type) -> None:
    """t and df of the differences; the stimuli's own spread cancels."""
    stimulus = rng.normal(0, 10, (15, 1))
    a, b = (stimulus + rng.normal(m, 1, (15, 4)) for m in (0.5, 0))
    t, df = paired_t(a.astype(precision), b.astype(precision))
    expected = reference.ttest_rel(a, b)

    np.testing.assert_allclose(
        t, expected.statistic, rtol=1e-10 if precision is np.float64 else 1e-4
    )
    np.testing.assert_allclose(df, 14, rtol=1e-12)


def test_half_precision_is_subtracted_in_float64() -> None:
    """2,049 - 1 has no float16, and 60,000 + 60,000 would overflow."""
    a, b = np.array([[2048.0], [60000.0]], np.float16), np.array([[1.0], [-60000.0]], np.float16)
    t, _ = paired_t(a, b)

    assert t == reference.ttest_rel(a.astype(float), b.astype(float)).statistic


def test_paired_units_without_evidence() -> None:
    """A constant difference gives t = 0, a non-finite activation nan, and no warning either."""
    a = np.array([[1.0, 1.0, np.inf], [2.0, 5.0, np.inf], [4.0, 2.0, 1.0]])
    b = np.array([[0.0, 1.0, np.inf], [1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    t, df = paired_t(a, b)

    assert (t[0], df[0]) == (0.0, 1.0)
    assert t[1] == pytest.approx(reference.ttest_rel(a[:, 1], b[:, 1]).statistic)
    assert np.isnan(t[2])


@pytest.mark.parametrize(("n", "m"), [(3, 2), (1, 1)])
def test_stimuli_without_a_partner_are_refused(n: int, m: int) -> None:
    """The message gives both numbers."""
    with pytest.raises(ValueError, match=f"at least two of them; there are {n} against {m}"):
        paired_t(np.ones((n, 2)), np.ones((m, 2)))


@given(samples)
def test_mann_whitney_is_scipys(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """U, area and asymptotic p for any ties and sizes, except where all values are equal."""
    a, b = sample
    computed = mann_whitney(a, b)
    varied = np.ptp(np.concatenate(sample), axis=0) > 0
    expected = reference.mannwhitneyu(a[:, varied], b[:, varied], method="asymptotic")

    np.testing.assert_array_equal(computed.u[varied], expected.statistic)
    np.testing.assert_allclose(computed.p[varied], expected.pvalue, rtol=1e-10)
    np.testing.assert_allclose(computed.auroc, computed.u / (len(a) * len(b)))
    assert np.all(computed.auroc[~varied] == 0.5)
    assert np.all(computed.p[~varied] == 1.0)


def test_area_is_the_share_of_pairs() -> None:
    """By hand: of six pairs three are larger and one is equal."""
    computed = mann_whitney(column(1, 3, 5), column(3, 3.5))

    assert (computed.u.item(), computed.auroc.item()) == (2.5, 2.5 / 6)


def test_ranks_of_other_units_survive_a_broken_one(rng: np.random.Generator) -> None:
    """Non-finite activations give nan for their unit only, on whichever side they are."""
    a, b = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    whole = mann_whitney(a, b)
    a[0, 0], b[3, 2] = np.nan, -np.inf
    computed = mann_whitney(a, b)

    assert np.isnan(computed.p).tolist() == np.isnan(computed.u).tolist() == [True, False, True]
    assert np.isnan(computed.auroc).tolist() == [True, False, True]
    assert computed.p[1] == whole.p[1]


def test_ranks_need_both_sides() -> None:
    """Against nothing there is no preference."""
    with pytest.raises(ValueError, match="both sides; there are 2 against 0"):
        mann_whitney(np.ones((2, 3)), np.ones((0, 3)))


@pytest.mark.parametrize(
    "statistic",
    [lambda a, b: paired_t(a, b)[0], lambda a, b: mann_whitney(a, b).p],
    ids=["paired t", "rank test"],
)
def test_results_do_not_depend_on_blocks(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four units at a time, or one with more stimuli than a block holds, or all of them."""
    a, b = rng.normal(size=(10, 7)).round(1), rng.normal(size=(10, 7)).round(1)
    whole = statistic(a, b)
    for block in (45, 1):
        monkeypatch.setattr(selectivity, "_BLOCK", block)
        np.testing.assert_allclose(statistic(a, b), whole, rtol=1e-12)


def test_d_prime_by_hand() -> None:
    """Means 4 and 0, variances 1 and 7: 4 / sqrt(4), whatever the numbers of stimuli."""
    positive, negative = column(3, 4, 5), column(-(7**0.5), 0, 7**0.5)

    assert d_prime(moments_of(positive), moments_of(negative)).item() == pytest.approx(2.0)


def test_d_prime_of_equal_numbers_is_cohens_d(rng: np.random.Generator) -> None:
    """Only with other numbers of stimuli do the two weigh the variances differently."""
    a, b, c = (moments_of(rng.normal(0, s, (n, 5))) for s, n in ((1, 8), (3, 8), (3, 20)))

    np.testing.assert_allclose(d_prime(a, b), cohens_d([a, b], [1, -1]), rtol=1e-12)
    assert not np.any(np.isclose(d_prime(a, c), cohens_d([a, c], [1, -1])))


def test_d_prime_of_units_without_spread() -> None:
    """Constant on both sides: 0, as for t; a non-finite activation: nan."""
    a = np.array([[2.0, 1.0, np.inf], [2.0, 1.0, 0.0]])
    b = np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]])
    computed = d_prime(moments_of(a), moments_of(b))

    assert computed[0] == 0.0
    assert computed[1] == pytest.approx(-0.5 / 0.25**0.5)
    assert np.isnan(computed[2])


means = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(means, means)
def test_selectivity_index_keeps_the_published_rule(positive: float, negative: float) -> None:
    """(P - N) / (P + N) where both are positive, 1 or -1 where signs differ; sign of P - N."""
    (index,) = selectivity_index(np.array([positive]), np.array([negative]))
    if positive > 0 and negative > 0:
        assert index == pytest.approx((positive - negative) / (positive + negative), abs=1e-12)
    elif positive * negative < 0:
        assert index == np.sign(positive)

    assert np.sign(index) == np.sign(positive - negative)
    assert -1 <= index <= 1


def test_selectivity_index_where_no_mean_is_positive() -> None:
    """-1 is more than -3, although P + N is negative; silent units give 0, broken ones nan."""
    positive = np.array([-1.0, -3.0, 0.0, 0.0, np.nan, np.inf])
    negative = np.array([-3.0, -1.0, 0.0, -2.0, 1.0, 1.0])

    np.testing.assert_array_equal(
        selectivity_index(positive, negative), [0.5, -0.5, 0.0, 1.0, np.nan, np.nan]
    )
