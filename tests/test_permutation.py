"""t under permuted labels against explicit relabelling, SciPy and brute force."""

from math import comb, isnan, nan

import numpy as np
import pytest
from scipy import stats as reference

from deeploc.core.permutation import (
    N_PERMUTATIONS,
    PermutedT,
    familywise_p,
    labelling,
    standardized,
    threshold,
)
from deeploc.core.stats import Moments, contrast_t

TWO = np.array([[1.0, -1.0]])
EACH = np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
WEIGHTED = np.array([[1.0, -0.25, -0.75]])


def labels_of(*sizes: int, n: int = 50, seed: int = 0) -> np.ndarray:
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return np.stack([labelling(owners, i, seed) for i in range(n)])


def by_hand(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return t of every unit under one labelling, by the code that localizes."""
    samples = []
    for number in range(weights.shape[1]):
        moments = Moments(values.shape[1])
        moments.add(values[labels == number])
        samples.append(moments)
    with np.errstate(invalid="ignore"):
        return np.min([contrast_t(samples, row)[0] for row in weights.tolist()], axis=0)


@pytest.mark.parametrize("sizes", [(9, 9), (30, 30), (12, 31)])
def test_largest_t_is_scipys(rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    """Equal and unequal sizes, in double and in single precision: Welch's t of every labelling."""
    values = rng.standard_t(3, (sum(sizes), 40)) * 10.0 ** rng.uniform(-3, 3, 40) + 100
    labels = labels_of(*sizes)
    expected = [
        reference.ttest_ind(values[row == 0], values[row == 1], equal_var=False).statistic.max()
        for row in labels
    ]
    computed = PermutedT(labels, TWO).maxima(standardized(values))

    np.testing.assert_allclose(computed, expected, rtol=1e-5)


@pytest.mark.parametrize("weights", [EACH, WEIGHTED], ids=["each", "weighted"])
@pytest.mark.parametrize("sizes", [(4, 5, 7), (20, 20, 20), (20, 25, 30)])
def test_largest_t_of_several_samples(
    rng: np.random.Generator, weights: np.ndarray, sizes: tuple[int, ...]
) -> None:
    """The smallest t over the comparisons, and a weighted sum of means, as they are localized."""
    values = rng.normal(size=(sum(sizes), 30))
    labels = labels_of(*sizes)
    expected = [by_hand(values, row, weights).max() for row in labels]

    np.testing.assert_allclose(
        PermutedT(labels, weights).maxima(standardized(values)), expected, rtol=1e-5
    )


@pytest.mark.parametrize("size", [4, 40])
def test_units_that_carry_no_evidence(rng: np.random.Generator, size: int) -> None:
    """Constant units have t = 0, also within each sample; non-finite units do not count."""
    labels = labels_of(size, size, n=200)
    separated = (labels[0] == 0).astype(float)
    values = np.stack([np.full(2 * size, 0.1), separated, rng.normal(size=2 * size)], axis=1)
    values[:, 2] = -5 * separated + 0.1 * values[:, 2]
    expected = [by_hand(values, row, TWO).max() for row in labels]
    broken = np.concatenate([values, np.full((2 * size, 2), [nan, np.inf])], axis=1)
    permuted = PermutedT(labels, TWO)

    computed = permuted.maxima(standardized(values))

    np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(permuted.maxima(standardized(broken)), computed)
    assert expected[0] == 0.0
    assert np.all(permuted.maxima(standardized(broken[:, 3:])) == -np.inf)


def test_a_labelling_keeps_the_sizes_and_its_number() -> None:
    """Every permutation can be drawn on its own, and differs from the others."""
    owners = np.repeat([3, 1, 2], [5, 2, 9])
    drawn = [tuple(labelling(owners, i, seed)) for seed in (0, 1) for i in range(20)]

    assert all(sorted(row) == sorted(owners) for row in drawn)
    assert len(set(drawn)) == len(drawn)
    assert drawn[7] == tuple(labelling(owners, 7, 0))


def test_every_labelling_is_equally_likely() -> None:
    """Of two and two stimuli there are six labellings; the true one is one of them."""
    n = 6000
    rows, counts = np.unique(labels_of(2, 2, n=n), axis=0, return_counts=True)

    assert len(rows) == comb(4, 2)
    assert [0, 0, 1, 1] in rows.tolist()
    assert reference.chisquare(counts).pvalue > 0.001


def test_familywise_p_and_threshold_are_counts(rng: np.random.Generator) -> None:
    """By a loop over units and labellings; a unit is above the threshold where p <= 5 %."""
    maxima = np.round(rng.normal(3, 1, 199), 1)
    t = np.concatenate([np.round(rng.normal(3, 2, 500), 1), maxima, [nan, np.inf, -np.inf]])
    expected = [nan if isnan(value) else (1 + sum(m >= value for m in maxima)) / 200 for value in t]
    p = familywise_p(t, maxima)

    np.testing.assert_allclose(p, expected)
    np.testing.assert_array_equal(t > threshold(maxima), p <= 0.05)
    assert threshold(maxima) == np.sort(maxima)[-10]


@pytest.mark.parametrize(("n", "rank"), [(18, None), (19, 1), (39, 2), (59, 3), (1000, 50)])
def test_fewer_than_19_labellings_have_no_threshold(n: int, rank: int | None) -> None:
    """No p of 18 labellings is 0.05; 19 are enough for a unit that beats them all."""
    maxima = np.arange(1.0, n + 1)

    assert threshold(maxima) == (np.inf if rank is None else n + 1 - rank)


def test_the_error_rate_holds_without_any_signal() -> None:
    """Correlated, heavy-tailed units that know nothing: 400 data sets, at most 5 % with any unit.

    With P(p <= 0.05) <= 0.05 by construction, more than the 99.9 % point of the binomial
    distribution would be a mistake; Bonferroni's level per unit would be far below the 5 %, so the
    share is also bounded from below.
    """
    rng = np.random.default_rng(20)
    n_sets, n = 400, 99
    hits = 0
    labels = labels_of(8, 12, n=n)
    permuted = PermutedT(labels, TWO)
    true = np.repeat([0, 1], [8, 12])
    for _ in range(n_sets):
        shared = rng.standard_t(3, (20, 3))
        values = shared @ rng.normal(size=(3, 60)) + rng.standard_t(3, (20, 60))
        t = by_hand(values, true, TWO)
        hits += familywise_p(t, permuted.maxima(standardized(values))).min() <= 0.05

    low, high = reference.binom.ppf([0.001, 0.999], n_sets, 0.05)
    assert low <= hits <= high


def test_the_number_of_permutations_reaches_three_digits() -> None:
    """The smallest p that can be reported is just below 0.001."""
    assert familywise_p(np.array([9.0]), np.zeros(N_PERMUTATIONS))[0] == 1 / 1001
