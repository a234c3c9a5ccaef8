"""Numbers that JSON does not have: null stands for what is not finite."""

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
