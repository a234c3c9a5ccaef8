"""Bootstrap intervals of ratios of sums over items, many in one matrix product."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, UInt8

N_RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

_CHUNK_BYTES = 2**23
"""The most memory of the float64 counts that are multiplied at once; one resample at least."""

_CACHE_BYTES = 2**25
"""The most memory of resamples that are kept from one call to the next."""


@runtime_checkable
class Ratio(Protocol):
    """A quantity ``sum(amount) / sum(weight)`` over items, or its exponential."""

    @property
    def amount(self) -> Float[np.ndarray, " item"]:
        """Numerator of every item; may be infinite or nan."""
        ...

    @property
    def weight(self) -> Float[np.ndarray, " item"]:
        """Denominator of every item, finite."""
        ...

    @property
    def exponential(self) -> bool:
        """Whether the quantity is the exponential of the ratio."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """The value of a ratio over all items, and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def intervals(ratios: Sequence[Ratio], seed: int = 0) -> list[Interval]:
    """Return the value of every ratio with its percentile bootstrap interval over items.

    The items are resampled 1,000 times. Ratios over equally many items get the same resamples,
    so that their intervals are comparable, and share one matrix product. A bound is an observed
    resample, not an interpolated one: between infinity and a number there is nothing. A resample
    that contains an item whose amount is not finite has the sum of such amounts. Memory does not
    grow with the number of items beyond one byte per item and resample.

    Parameters
    ----------
    ratios
        The ratios, in any order and of any sizes.
    seed
        Seed of the resamples.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.
    """
    by_size: dict[int, list[int]] = {}
    for number, ratio in enumerate(ratios):
        by_size.setdefault(len(ratio.amount), []).append(number)
    bounds = np.empty((len(ratios), 2))
    for numbers in by_size.values():
        resampled = _resampled([ratios[number] for number in numbers], seed)
        bounds[numbers] = np.percentile(resampled, PERCENTILES, axis=0, method="nearest").T
    return [
        Interval(_value(ratio), *map(float, bound))
        for ratio, bound in zip(ratios, bounds, strict=True)
    ]


def change(before: Ratio, after: Ratio, seed: int = 0) -> Interval:
    """Return ``after - before`` with its percentile bootstrap interval, paired over items.

    Both are ratios over the same items, and are resampled together: what makes items easy or hard
    for both cancels. Where both have the same value, be it infinite, the change is 0; a change that
    is no number has bounds that are none.

    Parameters
    ----------
    before, after
        The ratios, their items in the same order.
    seed
        Seed of the resamples, see `intervals`.

    Raises
    ------
    ValueError
        If they are not over equally many items.
    """
    if len(before.amount) != len(after.amount):
        raise ValueError(
            f"a change is over the same items, got {len(before.amount)} and {len(after.amount)}"
        )
    resampled = _resampled([before, after], seed)
    bounds = np.percentile(_minus(resampled[:, 1], resampled[:, 0]), PERCENTILES, method="nearest")
    values = np.array([_value(before)]), np.array([_value(after)])
    return Interval(float(_minus(values[1], values[0])[0]), *map(float, bounds))


def _minus(
    after: Float64[np.ndarray, " resample"], before: Float64[np.ndarray, " resample"]
) -> Float64[np.ndarray, " resample"]:
    with np.errstate(invalid="ignore"):
        return np.where(after == before, 0.0, after - before)  # inf - inf would be nan


def _value(ratio: Ratio) -> float:
    every = np.ones((1, len(ratio.amount)))
    # a product per column: its last bit does not depend on how many columns there are
    sums = np.stack([every @ column for column in np.ascontiguousarray(_columns([ratio]).T)], 1)
    return float(_divided([ratio], sums)[0, 0])


def _resampled(ratios: Sequence[Ratio], seed: int) -> Float64[np.ndarray, "resample ratio"]:
    """Return ratios over equally many items, over each resample of these."""
    columns = _columns(ratios)
    sums = [counts @ columns for counts in _counts(len(columns), seed)]
    return _divided(ratios, np.concatenate(sums))


def _columns(ratios: Sequence[Ratio]) -> Float64[np.ndarray, "item column"]:
    """Return what is summed over items: finite amounts, weights, whether it is not finite."""
    amounts = np.stack([ratio.amount for ratio in ratios], axis=1)
    finite = np.isfinite(amounts)
    weights = np.stack([ratio.weight for ratio in ratios], axis=1)
    # 0 * inf is nan: an item that is not in a resample must not count there
    parts = [np.where(finite, amounts, 0.0), weights]
    return np.concatenate(parts if finite.all() else [*parts, ~finite], axis=1, dtype=np.float64)


def _divided(
    ratios: Sequence[Ratio], sums: Float64[np.ndarray, "resample column"]
) -> Float64[np.ndarray, "resample ratio"]:
    n = len(ratios)
    total, weight, broken = sums[:, :n], sums[:, n : 2 * n], sums[:, 2 * n :]
    exponential = np.array([ratio.exponential for ratio in ratios])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if broken.size:
            rest = [ratio.amount[~np.isfinite(ratio.amount)].sum() for ratio in ratios]
            total = np.where(broken > 0, rest, total)
        ratio: Float64[np.ndarray, "resample ratio"] = total / weight
        return np.where(exponential, np.exp(ratio), ratio)


def _counts(n: int, seed: int) -> Iterator[Float64[np.ndarray, "resample item"]]:
    """Yield how often each of ``n`` items is in each resample, some resamples at a time."""
    counts = _RESAMPLES.get(n, seed)
    size = _chunk_size(n)
    for start in range(0, N_RESAMPLES, size):
        yield counts[start : start + size].astype(np.float64)


def _chunk_size(n: int) -> int:
    return max(_CHUNK_BYTES // (8 * n), 1)


def _sample(n: int, seed: int) -> UInt8[np.ndarray, "resample item"]:
    """Return the counts of every resample; sampled in parts they are the same as sampled at once.

    A count above 255 has a probability below 1e-500.
    """
    rng = np.random.default_rng([seed, n])
    counts = np.empty((N_RESAMPLES, n), dtype=np.uint8)
    size = _chunk_size(n)
    for start in range(0, N_RESAMPLES, size):
        part = counts[start : start + size]
        part[:] = rng.multinomial(n, np.full(n, 1 / n), size=len(part))
    return counts


class _Resamples:
    """Resamples by number of items and seed, the last used ones up to a number of bytes."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._kept: OrderedDict[tuple[int, int], UInt8[np.ndarray, "resample item"]] = OrderedDict()

    def get(self, n: int, seed: int) -> UInt8[np.ndarray, "resample item"]:
        """Return the counts of ``n`` items in every resample."""
        counts = self._kept.pop((n, seed), None)
        if counts is None:
            counts = _sample(n, seed)
        self._kept[n, seed] = counts
        while len(self._kept) > 1 and sum(c.nbytes for c in self._kept.values()) > self._n_bytes:
            self._kept.popitem(last=False)
        return counts


_RESAMPLES = _Resamples(_CACHE_BYTES)
