"""Permutations of the condition labels: the null distribution of the largest t."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float64, Int, Num

from deeploc.core.stats import ALPHA, Vector
from deeploc.stimuli.sampling import substream

N_PERMUTATIONS = 1000
"""How many labellings are drawn; the smallest p is 1 / 1001."""

Values = Float[np.ndarray, "stimulus unit"]
Standardized = Float64[np.ndarray, "stimulus unit"]
Labels = Int[np.ndarray, " stimulus"]
"""The number of the sample (or condition) of each stimulus."""
Labellings = Int[np.ndarray, "permutation stimulus"]
Orders = Int[np.ndarray, "row condition"]
"""Of every row of partners, the condition whose stimulus is labelled as each condition."""
Weights = Float64[np.ndarray, "comparison sample"]
"""One row per comparison: the weight of every sample in it, 0 where it does not take part."""
Coefficients = Float[np.ndarray, " _"]
T = Float[np.ndarray, "permutation unit"]
Maxima = Float64[np.ndarray, " permutation"]

SINGLE_FROM = 32
"""Fewest stimuli for single precision. Fewer can by chance be labelled so that a unit is separated
perfectly, and then the error of t is a difference of nearly equal numbers."""

_BLOCK = 1 << 19
"""Most values of t at once, so that intermediate results stay close to the processor."""

_TIES = 100 * float(np.finfo(np.float32).eps)
"""Relative difference up to which two values of t count as equal: beyond the rounding here."""


def labelling(owners: Labels, index: int, seed: int) -> Labels:
    """Return the labels of permutation ``index``; every label is there as often as before.

    The order depends on the seed, the index and the number of stimuli only.

    Parameters
    ----------
    owners
        ``(stimulus,)``; the true labels.
    index
        The number of the permutation, from 0.
    seed
        The seed of the run.
    """
    order = substream(seed, f"labels:{index}").permutation(len(owners))
    labels: Labels = owners[order]
    return labels


def partner_labelling(n_rows: int, n_conditions: int, index: int, seed: int) -> Orders:
    """Return the partners of every row in another order: whose label each of them gets.

    Partners belong together, so that under the null hypothesis they are exchangeable with each
    other and with nothing else. Of two partners one half of the orders turns the difference around.

    Source: Fisher (1935), The Design of Experiments, section 21; within blocks of several,
    Friedman (1937), J. Am. Stat. Assoc. 32, 675-701, doi:10.1080/01621459.1937.10503522.

    Parameters
    ----------
    n_rows
        How many stimuli each condition has.
    n_conditions
        How many partners belong together.
    index
        The number of the permutation, from 0.
    seed
        The seed of the run.
    """
    shape = (n_rows, n_conditions)
    orders: Orders = substream(seed, f"partners:{index}").random(shape).argsort(axis=1)
    return orders


def standardized(values: Num[np.ndarray, "stimulus unit"]) -> Standardized:
    """Return ``values`` with mean 0 and sum of squares 1 per unit, which leaves t as it is.

    A unit that is constant but for float64 rounding becomes 0, a non-finite one nan.

    Parameters
    ----------
    values
        ``(stimulus, unit)``.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        centred = values.astype(np.float64)
        mean = centred.mean(axis=0)
        centred -= mean
        length = np.sqrt(np.einsum("su,su->u", centred, centred))
    rounding = 8 * np.finfo(np.float64).eps * np.sqrt(len(values)) * np.abs(mean)
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=~(length <= rounding))
    scale[~np.isfinite(length)] = np.nan
    centred *= scale
    return centred


class PermutedT:
    """t of a contrast under many labellings of the same stimuli, by matrix products.

    Let x be the standardized responses of a unit, ``S_g`` their sum and ``Q_g`` that of their
    squares over sample g of ``n_g`` stimuli, w the weight of the sample and
    ``a = w^2 / (n (n - 1))``. Then ``t = sum(w S / n) / sqrt(sum(a (Q - S^2 / n)))``, which is
    `deeploc.core.stats.contrast_t` in other words; with several comparisons the smallest counts.

    The sums under all labellings are one product of their indicators with x, and those of ``a Q``
    one with ``x^2``; where a is the same for all samples they are just a, as the squares sum to 1.
    The last sample needs no product: all S sum to 0.

    Parameters
    ----------
    labels
        ``(permutation, stimulus)``: samples, numbered from 0. Each has at least two stimuli, and
        as many in every permutation.
    weights
        ``(comparison, sample)``.
    variances
        Another a, ``(comparison, sample)``: with ``1 / (2 (n - 1))`` of the samples compared the
        quotient is d'.
    """

    def __init__(
        self, labels: Labellings, weights: Weights, *, variances: Weights | None = None
    ) -> None:
        n_samples = weights.shape[1]
        counts = np.bincount(labels[0], minlength=n_samples)
        self._dtype = np.dtype(np.float64 if labels.shape[1] < SINGLE_FROM else np.float32)
        self._indicators = [(labels == g).astype(self._dtype) for g in range(n_samples - 1)]
        effects = weights / counts
        a = np.square(weights) / (counts * (counts - 1)) if variances is None else variances
        between = a / counts
        # of two samples both have the same S^2
        between = between if n_samples > 2 else between.sum(axis=1, keepdims=True)
        self._effects = (effects[:, :-1] - effects[:, -1:]).astype(self._dtype)
        self._between = between.astype(self._dtype)
        alike = np.ptp(a, axis=1) == 0
        self._errors = [
            row[:1, None] if same else row[labels]
            for row, same in zip(a.astype(self._dtype), alike, strict=True)
        ]

    def maxima(self, values: Standardized) -> Maxima:
        """Return the largest t over the units under every labelling, -inf over no units.

        Parameters
        ----------
        values
            See `standardized`; units with nan do not count.
        """
        x = values[:, np.isfinite(values[0])].astype(self._dtype)
        squares = np.square(x)
        return largest_of(
            len(self._indicators[0]), x.shape[1], lambda rows: self._t(x, squares, rows)
        )

    def _t(self, x: Values, squares: Values, rows: slice) -> T:
        """Return t of every unit under some of the labellings."""
        sums = [indicator[rows] @ x for indicator in self._indicators]
        per_sample = sums if len(sums) == 1 else [*sums, np.sum(sums, axis=0)]
        between = [np.square(s) for s in per_sample]
        ts = []
        for number, a in enumerate(self._errors):
            total = a if a.size == 1 else a[rows] @ squares
            effect = _weighted(self._effects[number], sums)
            error = _weighted(-self._between[number], between)
            error += total
            ts.append(quotient(effect, error, total))
        smallest: T = ts[0] if len(ts) == 1 else np.min(ts, axis=0)
        return smallest


def largest_of(n_permutations: int, n_units: int, statistic: Callable[[slice], T]) -> Maxima:
    """Return the largest statistic over the units under every labelling, -inf over no units.

    Parameters
    ----------
    n_permutations, n_units
        How many there are.
    statistic
        Some of the labellings -> the statistic of every unit under each; a block of them at once.
    """
    largest = np.full(n_permutations, -np.inf)
    step = max(1, _BLOCK // n_units) if n_units else n_permutations
    for start in range(0, n_permutations if n_units else 0, step):
        rows = slice(start, start + step)
        largest[rows] = statistic(rows).max(axis=1)
    return largest


def _weighted(coefficients: Coefficients, terms: list[T]) -> T:
    weighted: T = coefficients[0] * terms[0]
    for coefficient, term in zip(coefficients[1:], terms[1:], strict=True):
        if coefficient:
            weighted += coefficient * term
    return weighted


def quotient(effect: T, error: T, total: Float[np.ndarray, "_ _"]) -> T:
    """Return t, in place; 0 where the unit is constant in every sample, as in `stats.contrast_t`.

    Parameters
    ----------
    effect, error
        t is the effect over the square root of the error.
    total
        What the error is the rest of: less than its rounding is none.
    """
    constant = error <= 100 * np.finfo(error.dtype).eps * total
    if constant.any():
        error[constant], effect[constant] = 1.0, 0.0
    t: T = np.divide(effect, np.sqrt(error, out=error), out=effect)
    return t


def familywise_p(t: Vector, maxima: Maxima) -> Vector:
    """Return how rarely the largest t under permuted labels reaches t; nan stays nan.

    ``(1 + maxima at least as large) / (1 + maxima)``: the true labelling is one of those that are
    equally likely if no unit distinguishes the conditions. Selecting p <= 0.05 then selects
    any unit at all in at most 5 % of such data, however the units are correlated.

    Source: Westfall & Young (1993), Resampling-Based Multiple Testing; Nichols & Holmes (2002),
    doi:10.1002/hbm.1058; the 1 is Phipson & Smyth's (2010), doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    t
        ``(unit,)``, under the true labels.
    maxima
        ``(permutation,)``; the largest t over the same units.
    """
    ordered = np.sort(maxima)
    reached = len(ordered) - np.searchsorted(ordered, t * (1 - _TIES * np.sign(t)))
    return np.where(np.isnan(t), np.nan, (1 + reached) / (1 + len(ordered)))


def threshold(maxima: Maxima, alpha: float = ALPHA) -> float:
    """Return the t above which `familywise_p` is at most ``alpha``; inf where none can be.

    Parameters
    ----------
    maxima
        ``(permutation,)``; the largest t under permuted labels.
    alpha
        The family-wise error rate, between 0 and 1.
    """
    rank = int(round(alpha * (1 + len(maxima)), 9))  # 0.05 of 20 is 1, also in binary
    return float(np.sort(maxima)[-rank]) if rank else float("inf")
