"""Properties of the stimuli in which the two sides of a contrast differ enough to explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from deeploc.contrast.model import Comparison
from deeploc.core.stats import Moments, cohens_d

MEDIUM_EFFECT = 0.5
"""Cohen's d from which a difference of means is reported: "medium" in Cohen (1988), 2.2.3."""

LARGE_SHARE = 0.10
"""Difference between two shares from which it is reported."""

SHARES: Mapping[str, str] = {
    "truncated": "are truncated{limit}",
    "not_word_final": "are read at a token that does not end a word",
}
MEASURES: Mapping[str, str] = {
    "words": "words",
    "characters": "characters",
    "tokens": "tokens",
    "words_left": "words left after truncation",
    "luminance": "luminance",
    "pixels": "pixels",
}

GREY_LEVEL = 1 / 255
"""The step between two luminances of an 8-bit image: means that are nearer count as equal.

The luminance of images that were equalized hardly varies, and any difference is many sds then.
"""

_MOST_NAMES = 3
_CONCLUSION = "this difference alone could explain the contrast"

Measured = Mapping[str, Float64[np.ndarray, " stimulus"]]
"""Property -> its value for every stimulus of a condition; 0 or 1 where it is a share."""


@dataclass(frozen=True)
class _Side:
    name: str
    values: Float64[np.ndarray, " stimulus"]

    @property
    def mean(self) -> float:
        return float(self.values.mean())


def confounds(
    comparison: Comparison, measured: Mapping[str, Measured], limit: int | None = None
) -> list[str]:
    """Return a sentence for every property that differs too much between the two sides.

    A difference of shares is too large from `LARGE_SHARE` on, one of means from `MEDIUM_EFFECT` on
    (luminance: if it is also at least a `GREY_LEVEL`). The stimuli of all conditions of a side are
    pooled, whatever their weights.

    Parameters
    ----------
    comparison
        The two sides.
    measured
        Condition -> property -> its value for every stimulus.
    limit
        After how many tokens texts are truncated; None: never.
    """
    sentences = []
    for key, what in SHARES.items():
        if sides := _sides(comparison, measured, key):
            at = f" at {limit:,} tokens" if limit else ""
            sentences += _differing_shares(*sides, what.format(limit=at))
    for key, what in MEASURES.items():
        if sides := _sides(comparison, measured, key):
            least = GREY_LEVEL if key == "luminance" else 0.0
            sentences += _differing_means(*sides, what, least)
    return sentences


def _sides(
    comparison: Comparison, measured: Mapping[str, Measured], key: str
) -> tuple[_Side, _Side] | None:
    """Return both sides, the one with more first; None where a condition was not measured."""
    names = (comparison.positive, comparison.negative)
    if any(key not in measured[name] for side in names for name in side):
        return None
    first, second = (_Side(_named(n), np.concatenate([measured[c][key] for c in n])) for n in names)
    return (first, second) if first.mean >= second.mean else (second, first)


def _named(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMES:
        first = names[: _MOST_NAMES - 1]
        return f"{', '.join(first)} and {len(names) - len(first)} other conditions"
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def _differing_shares(more: _Side, less: _Side, what: str) -> list[str]:
    if round(more.mean - less.mean, 9) < LARGE_SHARE:
        return []
    shares = f"{more.mean:.0%} of {more.name} but {less.mean:.0%} of {less.name}".replace("%", " %")
    return [f"{shares} {what}; {_CONCLUSION}"]


def _differing_means(more: _Side, less: _Side, what: str, least: float) -> list[str]:
    d = _effect(more, less)
    if d < MEDIUM_EFFECT or more.mean - less.mean < least:
        return []
    size = f"Cohen's d = {d:.2f}" if np.isfinite(d) else "constant within each side"
    means = [f"{format_mean(side.mean)} in {side.name}" for side in (more, less)]
    return [f"mean {what} {' but '.join(means)} ({size}); {_CONCLUSION}"]


def _effect(more: _Side, less: _Side) -> float:
    """Return Cohen's d, infinite where two unlike values never vary."""
    moments = []
    for side in (more, less):
        moments.append(Moments(1))
        moments[-1].add(side.values[:, np.newaxis])
    if more.mean > less.mean and not any(m.variance.any() for m in moments):
        return float("inf")
    return float(cohens_d(moments, (1, -1)).item())


def format_mean(value: float) -> str:
    """Return a number with three digits, or all of those before its point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
