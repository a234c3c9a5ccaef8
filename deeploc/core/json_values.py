"""Numbers that JSON does not have: null stands for what is not finite; and what is no JSON."""

from collections.abc import Mapping
from math import isfinite, nan
from typing import Any


def nulled(value: Any) -> Any:
    """Return a value of mappings, sequences and numbers with None for each that is not finite.

    Parameters
    ----------
    value
        What is to be written as JSON.

    Examples
    --------
    >>> nulled({"d": (1.5, float("nan"))})
    {'d': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: nulled(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [nulled(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def not_json(value: Any, place: str = "") -> str:
    """Return which part of a value JSON cannot hold, and what it is; empty: it can hold all.

    Parameters
    ----------
    value
        Any value; tuples count as lists.
    place
        What the value is called in the answer.

    Examples
    --------
    >>> not_json({"n": [1, {2}]}), not_json({"n": (1.5, None)})
    ('n[1] is set', '')
    """
    if isinstance(value, Mapping):
        if keys := [key for key in value if not isinstance(key, str)]:
            return f"{place or 'it'} has the key {keys[0]!r}, which is no text"
        parts = [(f"{place}.{key}" if place else key, part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{place}[{number}]", part) for number, part in enumerate(value)]
    elif isinstance(value, float) and not isfinite(value):
        return f"{place} is {value}"
    else:
        can_be_held = value is None or isinstance(value, str | bool | int | float)
        return "" if can_be_held else f"{place} is {type(value).__name__}"
    return next((told for name, part in parts if (told := not_json(part, name))), "")


def restored(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers by name as they were before `nulled`: nan for None.

    Parameters
    ----------
    part
        Name -> number, or None.

    Examples
    --------
    >>> restored({"d": None, "t": 2.0})
    {'d': nan, 't': 2.0}
    """
    return {name: nan if value is None else value for name, value in part.items()}
