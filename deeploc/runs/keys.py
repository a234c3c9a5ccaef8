"""Hashes of inputs, and in words what differs between two of them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_SHORT = 60
"""Longest pair of values that a message shows."""


def json_hash(value: Any) -> str:
    """Return the sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which inputs differ, in words: ``seed (0, now 1)``, ``model (dtype, weights)``.

    Parameters
    ----------
    recorded
        The inputs in the manifest.
    now
        The inputs of this command.
    """
    now = json.loads(json.dumps(now))
    names = [name for name in {**now, **recorded} if recorded.get(name) != now.get(name)]
    return [_difference(name, recorded.get(name), now.get(name)) for name in names]


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [part for part in {**new, **old} if old.get(part) != new.get(part)]
        return f"{name} ({', '.join(parts)})"
    plain = (str, int, float, type(None))
    if isinstance(old, plain) and isinstance(new, plain) and len(f"{old}{new}") < _SHORT:
        return f"{name} ({old}, now {new})"
    return name
