"""What is selected in an untrained copy of a model, in words."""

from collections.abc import Mapping
from typing import Any

from deeploc.core.json_values import nulled
from deeploc.core.trained import numbers_of
from deeploc.core.untrained import Untrained
from deeploc.report.text import format_number


def describe_untrained(untrained: Untrained) -> list[str]:
    """Return a line per kind of site on an untrained copy, or why there is none.

    Parameters
    ----------
    untrained
        That of a run.

    Examples
    --------
    >>> describe_untrained(Untrained(missing="the model itself is untrained"))
    ['untrained copy: the model itself is untrained']
    """
    if untrained.missing:
        return [f"untrained copy: {untrained.missing}"]
    return [
        f"{kind.sites}: untrained copy: {describe_copy(nulled(numbers_of(kind)))}"
        for kind in untrained.kinds
    ]


def describe_copy(numbers: Mapping[str, Any]) -> str:
    """Return how far the units of a copy prefer the positive side, and how reliable they are.

    Parameters
    ----------
    numbers
        Those of the reply ``trained``; None stands for what is not finite.

    Examples
    --------
    >>> halves = {"r": 0.1, "overlap": 0.02, "chance": 0.01}
    >>> describe_copy({"selected_units": 5, "halves": halves})
    'halves share 2 % of its units (chance 1 %)'
    >>> tested = {"d": 1.42, "d_interval": [0.27, 2.57], "p": 0.0075}
    >>> describe_copy({"selected_units": 5, **tested})
    'held-out d = 1.42 [0.270, 2.57], p = 0.0075; its halves could not be localized apart'
    """
    if not numbers["selected_units"]:
        return "no unit is selected"
    parts = [_preference(numbers)] if "d" in numbers else []
    return "; ".join([*parts, _halves(numbers.get("halves"))])


def summarize_copy(numbers: Mapping[str, Any], *, with_interval: bool) -> str:
    """Return the same without tests and chance, in less than a line.

    Parameters
    ----------
    numbers
        As for `describe_copy`.
    with_interval
        Whether the interval of d is given.

    Examples
    --------
    >>> numbers = {"d": 1.42, "d_interval": [0.27, 2.57], "p": 0.0075}
    >>> numbers |= {"selected_units": 5, "halves": {"r": 0.1, "overlap": 0.02, "chance": 0.01}}
    >>> summarize_copy(numbers, with_interval=False)
    'held-out d = 1.42, split-half overlap 2 %'
    """
    if not numbers["selected_units"]:
        return "no unit is selected"
    parts = [_d(numbers, with_interval=with_interval)] if "d" in numbers else []
    overlap = (numbers.get("halves") or {}).get("overlap")
    if overlap is not None:
        parts.append(f"split-half overlap {100 * overlap:.0f} %")
    return ", ".join(parts) or _halves(None)


def _d(numbers: Mapping[str, Any], *, with_interval: bool) -> str:
    values = [numbers["d"], *numbers["d_interval"]]
    if None in (numbers["p"], *values):
        return "its preference cannot be tested"
    d, low, high = map(format_number, values)
    return f"held-out d = {d}" + (f" [{low}, {high}]" if with_interval else "")


def _preference(numbers: Mapping[str, Any]) -> str:
    shown, p = _d(numbers, with_interval=True), numbers["p"]
    if p is None:
        return shown
    return f"{shown}, p < 0.001" if p < 0.001 else f"{shown}, p = {p:.2g}"


def _halves(halves: Mapping[str, Any] | None) -> str:
    if halves is None or halves["overlap"] is None:
        return "its halves could not be localized apart"
    shared, chance = 100 * halves["overlap"], 100 * halves["chance"]
    return f"halves share {shared:.0f} % of its units (chance {chance:.2g} %)"
