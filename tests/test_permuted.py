"""Rank test, paired t, selectivity index and d' under permuted labels, one labelling at a time."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as reference

from deeploc.core.permutation import (
    PermutedT,
    familywise_p,
    labelling,
    partner_labelling,
    standardized,
)
from deeploc.core.permuted import PermutedIndex, PermutedPairs, PermutedRanks
from deeploc.core.selectivity import d_prime, paired_t, selectivity_index
from deeploc.core.stats import Moments

N = 40
"""Labellings of each test."""


def labels_of(*sizes: int) -> np.ndarray:
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return np.stack([labelling(owners, i, 3) for i in range(N)])


def orders_of(n_rows: int, n_conditions: int, n: int = N) -> np.ndarray:
    return np.stack([partner_labelling(n_rows, n_conditions, i, 3) for i in range(n)])


def broken(values: np.ndarray) -> np.ndarray:
    """Return the values with two further units that are not finite, and one that is constant."""
    further = np.full((len(values), 3), 7.0)
    further[0, :2] = np.nan, np.inf
    return np.concatenate([values, further], axis=1)


@pytest.mark.parametrize("decimals", [0, 9], ids=["ties", "no ties"])
@pytest.mark.parametrize(("n", "m"), [(4, 5), (30, 41)])
def test_ranks_are_scipys(rng: np.random.Generator, n: int, m: int, decimals: int) -> None:
    """|z| has SciPy's p of every labelling, with ties and without."""
    values = rng.normal(size=(n + m, 25)).round(decimals)
    labels = labels_of(n, m)
    computed = PermutedRanks(labels).maxima(broken(values))
    for row, largest in zip(labels, computed, strict=True):
        test = reference.mannwhitneyu(values[row == 0], values[row == 1], method="asymptotic")
        z = reference.norm.isf(test.pvalue / 2) * np.sign(test.statistic - n * m / 2)

        assert largest == pytest.approx(max(z.max(), 0.0), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("n_rows", [5, 40])
def test_pairs_are_scipys_with_signs_flipped(rng: np.random.Generator, n_rows: int) -> None:
    """Of two conditions: t of the differences, some of them turned around."""
    a, b = rng.normal(5, 1, (n_rows, 25)), rng.normal(5, 1, (n_rows, 25))
    orders = orders_of(n_rows, 2)
    computed = PermutedPairs(orders).maxima(np.stack([broken(a), broken(b)]))
    for order, largest in zip(orders, computed, strict=True):
        signs = np.where(order[:, 0] == 0, 1, -1)
        expected = reference.ttest_1samp(signs[:, None] * (a - b), 0).statistic

        assert largest == pytest.approx(max(expected.max(), 0.0), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("n_rows", [5, 40])
def test_partners_of_three_conditions_are_exchanged(rng: np.random.Generator, n_rows: int) -> None:
    """The first label against each other one, partners permuted among themselves: smallest t."""
    values = rng.normal(5, 1, (3, n_rows, 25))
    orders = orders_of(n_rows, 3)
    computed = PermutedPairs(orders).maxima(values)
    for order, largest in zip(orders, computed, strict=True):
        first, *others = (values[order[:, k], np.arange(n_rows)] for k in range(3))
        expected = np.min([reference.ttest_rel(first, other).statistic for other in others], axis=0)

        assert largest == pytest.approx(expected.max(), rel=1e-4)


def test_four_pairs_have_sixteen_signs() -> None:
    """By hand: differences 1, 2, 3, 4 and all their signs; the true one is the largest of 16."""
    signs = np.array(list(product([0, 1], repeat=4)))
    orders = np.stack([signs, 1 - signs], axis=2)
    pairs = np.array([[[1.0], [2.0], [3.0], [4.0]], [[0.0]] * 4])
    computed = PermutedPairs(orders).maxima(pairs)
    flipped = [np.where(row == 0, 1, -1) * [1.0, 2.0, 3.0, 4.0] for row in signs]
    expected = [np.mean(x) / (np.std(x, ddof=1) / 2) for x in flipped]

    np.testing.assert_allclose(computed, expected, atol=1e-12)
    t, _ = paired_t(pairs[0], pairs[1])
    assert computed.argmax() == 0
    assert t.item() == pytest.approx(computed[0])
    assert familywise_p(t, computed[1:]) == 1 / 16


def test_both_orders_of_a_pair_are_equally_likely() -> None:
    """Each of three pairs is turned around in half of the permutations, whatever the others do."""
    orders = orders_of(3, 2, n=4000)[:, :, 0]
    _, counts = np.unique(orders, axis=0, return_counts=True)

    assert len(counts) == 8
    assert reference.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("sizes", [(6, 9), (5, 6, 7)])
def test_index_of_every_labelling(rng: np.random.Generator, sizes: tuple[int, ...]) -> None:
    """Means of either sign; with several control samples the smallest index."""
    values = rng.normal(0.5, 1, (sum(sizes), 25))
    labels = labels_of(*sizes)
    computed = PermutedIndex(labels).maxima(broken(values))
    for row, largest in zip(labels, computed, strict=True):
        first, *others = (values[row == g].mean(axis=0) for g in range(len(sizes)))
        expected = np.min([selectivity_index(first, other) for other in others], axis=0)

        assert largest == pytest.approx(max(expected.max(), 0.0))


@pytest.mark.parametrize("sizes", [(6, 9), (20, 20), (20, 31, 22)])
def test_d_prime_of_every_labelling(rng: np.random.Generator, sizes: tuple[int, ...]) -> None:
    """The quotient with the variances of single stimuli; with several controls the smallest."""
    values = rng.normal(5, 1, (sum(sizes), 25))
    labels, n_others = labels_of(*sizes), len(sizes) - 1
    weights = np.concatenate([np.ones((n_others, 1)), -np.eye(n_others)], axis=1)
    variances = np.square(weights) / (2 * (np.array(sizes) - 1))
    computed = PermutedT(labels, weights, variances=variances).maxima(standardized(values))
    for row, largest in zip(labels, computed, strict=True):
        samples = [Moments(25) for _ in sizes]
        for g, moments in enumerate(samples):
            moments.add(values[row == g])
        expected = np.min([d_prime(samples[0], other) for other in samples[1:]], axis=0)

        assert largest == pytest.approx(expected.max(), rel=1e-5)
