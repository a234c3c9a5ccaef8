"""Further statistics under many labellings of the same stimuli, each by matrix products.

The t of `deeploc.core.permutation` is one quotient of sums; so are, of other sums, the z of a rank
test, the t of paired stimuli and the selectivity index. Each class computes what
`deeploc.core.selectivity` does, for all labellings at once.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Float64, Int

from deeploc.core.permutation import SINGLE_FROM, Labellings, Maxima, T, largest_of, quotient
from deeploc.core.selectivity import centred_ranks, selectivity_index, z_of

Matrix = Float64[np.ndarray, "stimulus unit"]
Signs = Float[np.ndarray, "permutation difference"]
Differences = Float[np.ndarray, "difference unit"]

_EXACT = 1 << 22
"""Sums of ranks up to this are exact in single precision, also those of ties (halves)."""


class PermutedRanks:
    """z of the rank test of two samples under many labellings.

    Ranks do not depend on the labels, so that their sums are one product with the indicators of
    the first sample. They are exact, in single precision too.

    Parameters
    ----------
    labels
        ``(permutation, stimulus)``: 0 or 1, as many of each in every permutation.
    """

    def __init__(self, labels: Labellings) -> None:
        n_first = int((labels[0] == 0).sum())
        self._n_pairs = n_first * (labels.shape[1] - n_first)
        self._dtype = np.dtype(np.float32 if self._n_pairs < _EXACT else np.float64)
        self._first = (labels == 0).astype(self._dtype)

    def maxima(self, responses: Matrix) -> Maxima:
        """Return the largest z over the units under every labelling, -inf over no units.

        Parameters
        ----------
        responses
            ``(stimulus, unit)``; units that are not finite do not count.
        """
        ranks, scale = centred_ranks(responses)
        finite = np.isfinite(scale)
        x = ranks[:, finite].astype(self._dtype)
        sd = (np.sqrt(self._n_pairs) * scale[finite]).astype(self._dtype)
        return largest_of(
            len(self._first), x.shape[1], lambda rows: z_of(self._first[rows] @ x, sd)
        )


class PermutedPairs:
    """t of paired stimuli under many orders of the partners.

    Let D be the differences of all partners of a row, S their sum with the signs that an order
    gives them and Q the sum of their squares: ``t = S sqrt((n - 1) / n) / sqrt(Q - S^2 / n)`` of n
    rows. Both sums are matrix products; of two partners Q is the same in every order. With several
    conditions the first is compared with each other one, and the smallest t counts.

    Parameters
    ----------
    orders
        ``(permutation, row, condition)``, see `deeploc.core.permutation.partner_labelling`.
    """

    def __init__(self, orders: Int[np.ndarray, "permutation row condition"]) -> None:
        n_permutations, self._n, n_conditions = orders.shape
        self._dtype = np.dtype(np.float64 if self._n < SINGLE_FROM else np.float32)
        self._couples = list(combinations(range(n_conditions), 2))
        shape = (n_permutations, len(self._couples), self._n)
        self._signs = []
        for other in range(1, n_conditions):
            signs = np.zeros(shape, self._dtype)
            ours, theirs = orders[:, :, 0], orders[:, :, other]
            for number, (k, m) in enumerate(self._couples):
                signs[:, number] = ((ours == k) & (theirs == m)).astype(self._dtype)
                signs[:, number] -= (ours == m) & (theirs == k)
            self._signs.append(signs.reshape(n_permutations, -1))

    def maxima(self, responses: Float64[np.ndarray, "condition row unit"]) -> Maxima:
        """Return the largest t over the units under every order, -inf over no units.

        Parameters
        ----------
        responses
            Row i of every condition holds partners; units that are not finite do not count.
        """
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            differences = np.concatenate([responses[k] - responses[m] for k, m in self._couples])
            length = np.sqrt(np.einsum("ru,ru->u", differences, differences))
            differences /= np.where(length == 0, 1.0, length)
        finite = np.isfinite(length)
        x = differences[:, finite].astype(self._dtype)
        squares = np.square(x)
        return largest_of(
            len(self._signs[0]), x.shape[1], lambda rows: self._smallest(x, squares, rows)
        )

    def _smallest(self, x: Differences, squares: Differences, rows: slice) -> T:
        smallest: T = np.min([self._t(signs[rows], x, squares) for signs in self._signs], axis=0)
        return smallest

    def _t(self, signs: Signs, x: Differences, squares: Differences) -> T:
        sums = signs @ x
        one_couple = len(self._couples) == 1
        total = squares.sum(axis=0, keepdims=True) if one_couple else np.abs(signs) @ squares
        error = total - np.square(sums) / self._n
        sums *= np.sqrt((self._n - 1) / self._n)
        return quotient(sums, error, np.broadcast_to(total, error.shape))


class PermutedIndex:
    """The selectivity index under many labellings: a product of means, in double precision.

    Parameters
    ----------
    labels
        ``(permutation, stimulus)``: samples, numbered from 0, as many stimuli of each in every
        permutation. The first is compared with each other one; the smallest index counts.
    """

    def __init__(self, labels: Labellings) -> None:
        counts = np.bincount(labels[0])
        self._shares = [(labels == g) / count for g, count in enumerate(counts)]

    def maxima(self, responses: Matrix) -> Maxima:
        """Return the largest index over the units under every labelling, -inf over no units.

        Parameters
        ----------
        responses
            ``(stimulus, unit)``; units that are not finite do not count.
        """
        x = responses[:, np.isfinite(responses).all(axis=0)]
        return largest_of(len(self._shares[0]), x.shape[1], lambda rows: self._smallest(x, rows))

    def _smallest(self, x: Matrix, rows: slice) -> T:
        first, *others = (shares[rows] @ x for shares in self._shares)
        smallest: T = np.min([selectivity_index(first, other) for other in others], axis=0)
        return smallest
