"""Which conditions a unit must prefer to which."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deeploc.errors import nearest

_TOLERANCE = 1e-9
"""Largest sum of weights that counts as 0, relative to the largest weight."""


@dataclass(frozen=True)
class Comparison:
    """Which conditions a unit must prefer to which.

    ``weights`` are those of the weighted form, none of them 0, and None for ``a > b, c``.
    Conditions on neither side are read for the response profile only.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    weights: Mapping[str, float] | None = None


def parse_comparison(
    comparison: str | Mapping[str, float], conditions: Iterable[str]
) -> Comparison:
    """Return the comparison that ``a, b > c`` or a mapping of weights describes.

    A condition of weight 0 is on neither side.

    Parameters
    ----------
    comparison
        The value of ``contrast`` in a contrast file.
    conditions
        The names of all conditions.

    Raises
    ------
    ValueError
        If it does not have two sides, names a condition that does not exist or is named before, or
        its weights do not sum to 0.
    """
    known = list(conditions)
    if isinstance(comparison, str):
        weights, sides = None, _sides(comparison)
    else:
        weights = {name: weight for name, weight in comparison.items() if weight}
        sides = _weighted_sides(weights)
    names = [name for side in sides for name in side]
    for name in [*names, *(comparison if weights is not None else ())]:
        if name not in known:
            raise ValueError(
                f"there is no condition {name!r}; {nearest(name, known)}"
                f"conditions: {', '.join(known)}"
            )
        if names.count(name) > 1:
            raise ValueError(f"condition {name!r} is named twice; name it once, on one side")
    return Comparison(*sides, weights)


def _sides(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sides = [tuple(name.strip() for name in side.split(",")) for side in text.split(">")]
    if len(sides) != 2 or not all(all(side) for side in sides):
        raise ValueError(f"{text!r} is not a comparison; write it like `a > b` or `a, b > c, d`")
    return sides[0], sides[1]


def _weighted_sides(weights: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    positive = tuple(name for name, weight in weights.items() if weight > 0)
    negative = tuple(name for name, weight in weights.items() if weight < 0)
    largest = max(map(abs, weights.values()), default=1.0)
    total = math.fsum(weight / largest for weight in weights.values())  # the plain sum may overflow
    if not positive or not negative or abs(total) > _TOLERANCE:
        raise ValueError(
            f"weights must have both signs and sum to 0, these sum to {total * largest:g}; "
            "e.g. {a: 1, b: -0.5, c: -0.5}"
        )
    return positive, negative
