"""Streaming moments and the statistics computed from them.

Everything here is float64 NumPy on ``(stimulus, unit)`` arrays: no model, no torch.
"""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
from jaxtyping import Float, Float64
from scipy import special

Vector = Float64[np.ndarray, " unit"]

# A variance below this multiple of the squared mean is rounding, not data: summing n equal
# numbers in float64 leaves a relative error of about eps in the mean, so eps**2 in M2 / n.
_ROUNDING = (8 * np.finfo(np.float64).eps) ** 2


ALPHA = 0.05
"""The level of every test."""

SLICE = 1 << 17
"""Units processed at once: intermediate results of that many fit into a processor's cache."""


def slices(n_units: int) -> Iterator[slice]:
    """Yield slices of at most ``SLICE`` units that together cover all of them."""
    yield from (slice(start, start + SLICE) for start in range(0, n_units, SLICE))


class Moments:
    """Count, mean and variance of every unit, one batch at a time.

    Batches are merged with the parallel update of Chan, Golub & LeVeque (1983),
    doi:10.1080/00031305.1983.10483115, so the result does not depend on how the stimuli were
    batched (up to rounding) and moments of shards merge exactly.

    Examples
    --------
    >>> moments = Moments(n_units=1)
    >>> moments.add(np.array([[1.0], [2.0]]))
    >>> moments.add(np.array([[6.0]]))
    >>> moments.mean.item(), moments.variance.item()
    (3.0, 7.0)
    """

    def __init__(self, n_units: int) -> None:
        self.count = 0
        self.mean: Vector = np.zeros(n_units)
        self._m2: Vector = np.zeros(n_units)

    @classmethod
    def of(cls, count: int, mean: Vector, sd: Vector) -> "Moments":
        """Return the moments of a sample of which count, mean and sd are known.

        Parameters
        ----------
        count
            How many stimuli it has.
        mean, sd
            ``(unit,)``; the standard deviation with ddof=1.
        """
        moments = cls(0)
        moments.count, moments.mean = count, mean
        moments._m2 = np.square(sd) * (count - 1)
        return moments

    def add(self, batch: Float[np.ndarray, "stimulus unit"]) -> None:
        """Merge a batch of activations, accumulated in float64 whatever its own precision."""
        if len(batch):
            for units in slices(batch.shape[1]):
                values = batch[:, units].astype(np.float64)
                mean = values.mean(axis=0)
                values -= mean
                m2 = np.einsum("su,su->u", values, values)
                self._merge_units(units, len(batch), mean, m2)
            self.count += len(batch)

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of both samples taken as one."""
        both = Moments(len(self.mean))
        for part in (self, other):
            if part.count:
                both._merge_units(slice(None), part.count, part.mean, part._m2)
                both.count += part.count
        return both

    def part(self, units: slice) -> "Moments":
        """Return the moments of some of the units, without a copy."""
        part = Moments(0)
        part.count, part.mean, part._m2 = self.count, self.mean[units], self._m2[units]
        return part

    def _merge_units(self, units: slice, count: int, mean: Vector, m2: Vector) -> None:
        """Merge a sample of ``count`` into some of the units; the caller counts it."""
        delta = mean - self.mean[units]
        total = self.count + count
        self._m2[units] += m2 + np.square(delta) * (self.count * count / total)
        self.mean[units] += delta * (count / total)

    @property
    def variance(self) -> Vector:
        """Unbiased variance (ddof=1); nan when fewer than two stimuli were added.

        A unit that is constant but for float64 rounding has variance 0, so that rounding never
        looks like a (huge) t.
        """
        if self.count < 2:
            return np.full_like(self._m2, np.nan)
        variance = self._m2 / (self.count - 1)
        variance[variance <= _ROUNDING * np.square(self.mean)] = 0.0
        return variance

    @property
    def sd(self) -> Vector:
        """The square root of the variance."""
        variance = self.variance
        np.sqrt(variance, out=variance)
        return variance


def pooled(moments: Sequence[Moments]) -> Moments:
    """Return the moments of several conditions taken as one sample."""
    return reduce(Moments.merged, moments)


def t_interval(moments: Moments, level: float = 0.95) -> tuple[Vector, Vector]:
    """Return the ends of the confidence interval of the mean, per unit; nan below two stimuli.

    ``mean -+ t sd / sqrt(n)`` with the ``(1 + level) / 2`` quantile of Student's t at ``n - 1``
    degrees of freedom: equals ``scipy.stats.t.interval``.

    Source: Student (1908), Biometrika 6, 1-25.

    Parameters
    ----------
    moments
        Those of the sample.
    level
        The confidence level, between 0 and 1.
    """
    if moments.count < 2:
        undefined = np.full_like(moments.mean, np.nan)
        return undefined, undefined.copy()
    reach = special.stdtrit(moments.count - 1, (1 + level) / 2) / np.sqrt(moments.count)
    half = reach * moments.sd
    return moments.mean - half, moments.mean + half


def contrast_t(moments: Sequence[Moments], weights: Sequence[float]) -> tuple[Vector, Vector]:
    """Return t and degrees of freedom of the weighted sum of means, per unit.

    ``t = sum(w m) / sqrt(sum(w^2 v / n))`` with Satterthwaite's df; for weights ``(1, -1)`` this
    is Welch's t and equals ``scipy.stats.ttest_ind(..., equal_var=False)``. Units that are
    constant in every condition carry no evidence: t = 0, df = 1. Non-finite activations give nan.

    Source: Welch (1947), Biometrika 34, 28-35; Welch (1951), Biometrika 38, 330-336, for k means.

    Parameters
    ----------
    moments
        Those of each condition.
    weights
        One per condition; a condition of weight 0 does not count.
    """
    moments, weights = _weighted(moments, weights)
    effect = sum(w * m.mean for w, m in zip(weights, moments, strict=True))
    terms = [w**2 * m.variance / m.count for w, m in zip(weights, moments, strict=True)]
    error = np.sum(terms, axis=0)
    dof = sum(v**2 / (m.count - 1) for v, m in zip(terms, moments, strict=True) if m.count > 1)
    constant = error == 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        t = np.where(constant, 0.0, effect / np.sqrt(error))
        df = np.where(constant, 1.0, error**2 / dof)
    return t, df


def _weighted(
    moments: Sequence[Moments], weights: Sequence[float]
) -> tuple[list[Moments], list[float]]:
    """Return the conditions that take part in a comparison, with their weights."""
    used = [(m, w) for m, w in zip(moments, weights, strict=True) if w != 0]
    return [m for m, _ in used], [w for _, w in used]


def two_sided_p(t: Vector, df: Vector) -> Vector:
    """Return the two-sided p-value of ``t`` under Student's t; nan stays nan.

    Parameters
    ----------
    t
        ``(unit,)``.
    df
        Degrees of freedom, ``(unit,)``.
    """
    return np.asarray(2 * special.stdtr(df, -np.abs(t)), dtype=np.float64)


def cohens_d(moments: Sequence[Moments], weights: Sequence[float]) -> Vector:
    """Return the weighted sum of means in pooled standard deviations, per unit.

    With weights ``(1, -1)`` this is Cohen's d. Constant units get d = 0.

    Source: Cohen (1988), Statistical Power Analysis, eq. 2.5.2.

    Parameters
    ----------
    moments
        Those of each condition.
    weights
        One per condition; a condition of weight 0 does not count, nor does its variance.
    """
    moments, weights = _weighted(moments, weights)
    effect = sum(w * m.mean for w, m in zip(weights, moments, strict=True))
    dof = sum(m.count - 1 for m in moments)
    variance = np.sum([(m.count - 1) * m.variance for m in moments], axis=0) / dof
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance == 0, 0.0, effect / np.sqrt(variance))
