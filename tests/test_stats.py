import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as reference

from deeploc.core import stats
from deeploc.core.stats import (
    Moments,
    cohens_d,
    contrast_t,
    pooled,
    t_interval,
    two_sided_p,
)
from deeploc.core.units import Site
from deeploc.stimuli.sampling import split_half

finite = st.floats(-1e3, 1e3, allow_subnormal=False)
batches = hnp.arrays(float, st.tuples(st.integers(4, 30), st.just(3)), elements=finite)


def moments_of(*parts: np.ndarray, n_units: int = 3) -> Moments:
    moments = Moments(n_units)
    for part in parts:
        moments.add(part)
    return moments


def welch(a: Moments, b: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return t and df of the two-condition contrast ``a - b``."""
    return contrast_t([a, b], [1, -1])


@given(batches, st.integers(0, 30))
def test_moments_do_not_depend_on_batching(x: np.ndarray, cut: int) -> None:
    """Any split of the stimuli into batches gives NumPy's mean and variance."""
    split = moments_of(x[:cut], x[cut:])

    np.testing.assert_allclose(split.mean, x.mean(0), atol=1e-9)
    np.testing.assert_allclose(split.variance, x.var(0, ddof=1), atol=1e-6)


@given(batches, batches)
def test_described_moments_are_those_of_the_sample(x: np.ndarray, y: np.ndarray) -> None:
    """Count, mean and sd are enough to pool samples that are no longer there."""
    described = [Moments.of(len(s), s.mean(0), s.std(0, ddof=1)) for s in (x, y)]
    whole = np.concatenate([x, y])

    np.testing.assert_allclose(pooled(described).mean, whole.mean(0), atol=1e-9)
    np.testing.assert_allclose(pooled(described).variance, whole.var(0, ddof=1), atol=1e-6)


def test_the_interval_is_scipys(rng: np.random.Generator) -> None:
    """Student's t interval of the mean, here at 95 and at 80 %."""
    x = rng.normal(3, 2, (9, 3))
    for level in (0.95, 0.8):
        expected = reference.t.interval(level, 8, x.mean(0), reference.sem(x))
        np.testing.assert_allclose(t_interval(moments_of(x), level), expected, rtol=1e-12)


def test_one_stimulus_has_no_interval() -> None:
    """Nan, not an interval of length 0."""
    assert np.isnan(t_interval(moments_of(np.ones((1, 3))))).all()


@given(batches, batches)
def test_pooled_moments_are_those_of_one_sample(x: np.ndarray, y: np.ndarray) -> None:
    """Merging two conditions equals having read them as one."""
    both = pooled([moments_of(x), moments_of(y)])
    whole = np.concatenate([x, y])

    assert both.count == len(whole)
    np.testing.assert_allclose(both.mean, whole.mean(0), atol=1e-9)
    np.testing.assert_allclose(both.variance, whole.var(0, ddof=1), atol=1e-6)


def test_units_are_worked_on_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of two of seven units give what all of them at once give, to the last bit."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 7)), rng.normal(size=(5, 7))
    whole = moments_of(x, y, n_units=7)
    monkeypatch.setattr(stats, "SLICE", 2)
    sliced = moments_of(x, y, n_units=7)

    assert [s.indices(7)[:2] for s in stats.slices(7)] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    np.testing.assert_array_equal(sliced.mean, whole.mean)
    np.testing.assert_array_equal(sliced.variance, whole.variance)
    np.testing.assert_array_equal(sliced.part(slice(3, 5)).sd, np.sqrt(whole.variance[3:5]))


def test_half_precision_is_summed_in_float64() -> None:
    """A float16 sum of 4,000 ones would stop at 2,048; the moments do not."""
    assert moments_of(np.ones((4000, 3), np.float16)).mean.tolist() == [1.0, 1.0, 1.0]


def test_variance_needs_two_stimuli() -> None:
    """One stimulus says nothing about spread."""
    assert np.isnan(moments_of(np.ones((1, 3))).variance).all()


def test_shapes_are_checked_under_test() -> None:
    """The jaxtyping hook refuses a batch with a missing axis and names the axes."""
    with pytest.raises(TypeError, match="stimulus unit"):
        moments_of(np.ones(3))


def test_types_without_shapes_are_checked_under_test() -> None:
    """So are functions and dataclasses without an array in their signatures."""
    with pytest.raises(TypeError, match="seed"):
        split_half({}, "zero")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="path"):
        Site(0, "block", 4)  # type: ignore[arg-type]


def test_welch_matches_scipy(rng: np.random.Generator) -> None:
    """t, df and p agree with scipy's unequal-variance test to 1e-12."""
    a, b = rng.normal(0.3, 2.0, (40, 3)), rng.normal(0.0, 1.0, (25, 3))
    t, df = welch(moments_of(a), moments_of(b))
    expected = reference.ttest_ind(a, b, equal_var=False)

    np.testing.assert_allclose(t, expected.statistic, rtol=1e-12)
    np.testing.assert_allclose(df, expected.df, rtol=1e-12)
    np.testing.assert_allclose(two_sided_p(t, df), expected.pvalue, rtol=1e-12)


def test_weighted_contrast_by_hand() -> None:
    """t of 1, -1/2, -1/2 on three small samples equals the sum written out."""
    a, b, c = (np.array([[1.0], [3.0]]), np.array([[0.0], [2.0]]), np.array([[4.0], [8.0]]))
    t, df = contrast_t([moments_of(x, n_units=1) for x in (a, b, c)], [1, -0.5, -0.5])

    # means 2, 1, 6; variances 2, 2, 8; terms w^2 v / n = 1, 0.25, 1
    assert t.item() == pytest.approx((2 - 0.5 - 3) / 2.25**0.5)
    assert df.item() == pytest.approx(2.25**2 / (1 + 0.0625 + 1))


@pytest.mark.parametrize("value", [1.0, 0.1, 1e6 / 3])
def test_constant_units_carry_no_evidence(value: float) -> None:
    """A unit that never changes gets t = 0, whatever rounding its mean suffers."""
    t, df = welch(
        moments_of(*[np.full((7, 3), value)] * 3), moments_of(*[np.full((5, 3), 2 * value)] * 3)
    )

    assert t.tolist() == [0.0, 0.0, 0.0]
    assert df.tolist() == [1.0, 1.0, 1.0]


def test_nonfinite_activations_stay_visible() -> None:
    """An overflowed unit has t = nan and harms no other."""
    a = np.array([[1.0, np.inf], [2.0, 1.0], [4.0, 1.0]])
    with np.errstate(invalid="ignore"):
        t, _ = welch(moments_of(a, n_units=2), moments_of(a[::-1] * 2, n_units=2))

    assert np.isnan(t).tolist() == [False, True]


def test_cohens_d_by_hand() -> None:
    """Means 2 and 0 with pooled variance 1 are two deviations apart."""
    a, b = np.array([[1.0], [2.0], [3.0]]), np.array([[-1.0], [0.0], [1.0]])

    assert cohens_d([moments_of(x, n_units=1) for x in (a, b)], [1, -1]).item() == 2.0
