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


def _preference(numbers: Mapping[str, Any]) -> str:
    p, values = numbers["p"], [numbers["d"], *numbers["d_interval"]]
    if None in (p, *values):
        return "its preference cannot be tested"
    d, low, high = map(format_number, values)
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return f"held-out d = {d} [{low}, {high}], {shown}"


def _halves(halves: Mapping[str, Any] | None) -> str:
    if halves is None or halves["overlap"] is None:
        return "its halves could not be localized apart"
    shared, chance = 100 * halves["overlap"], 100 * halves["chance"]
    return f"halves share {shared:.0f} % of its units (chance {chance:.2g} %)"
