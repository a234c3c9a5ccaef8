"""Which conditions a unit must prefer to which."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deeploc.errors import nearest


@dataclass(frozen=True)
class Comparison:
    """Which conditions a unit must prefer to which.

    ``weights`` are the numbers of the weighted form and None for ``a > b, c``; conditions in
    neither side are read for the response profile only.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    weights: Mapping[str, float] | None = None


def parse_comparison(said: str | Mapping[str, float], conditions: Iterable[str]) -> Comparison:
    """Return the comparison that ``a, b > c`` or a mapping of weights describes.

    Raises
    ------
    ValueError
        If it has not two sides, names what is no condition, or its weights do not sum to 0.
    """
    known = list(conditions)
    weights = None if isinstance(said, str) else said
    sides = _sides(said) if isinstance(said, str) else _weighted_sides(said)
    names = [name for side in sides for name in side]
    for name in [*names, *(weights or ())]:
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
        raise ValueError(f"{text!r} is no comparison; write it like `a > b` or `a, b > c, d`")
    return sides[0], sides[1]


def _weighted_sides(weights: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    positive = tuple(name for name, weight in weights.items() if weight > 0)
    negative = tuple(name for name, weight in weights.items() if weight < 0)
    total = math.fsum(weights.values())
    if not positive or not negative or abs(total) > 1e-9:
        raise ValueError(
            f"weights must have both signs and sum to 0, these sum to {total:g}; "
            "e.g. {a: 1, b: -0.5, c: -0.5}"
        )
    return positive, negative
