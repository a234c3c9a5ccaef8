"""Contrast files as data: their values, the lines of these, and overrides."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc.contrast.yaml import MAX_DEPTH, KeyPath, parse
from deeploc.errors import ContrastError

MAX_BYTES = 1_000_000
"""Size of the largest contrast file."""

_MAX_DIGITS = 9  # of an index in an override


@dataclass(frozen=True)
class Document:
    """The values of a file, and the location (``FILE:LINE``) of each for messages."""

    data: Any
    locations: Mapping[KeyPath, str]

    def location(self, path: KeyPath) -> str:
        """Return the location of the value at ``path``, or of the innermost part that has one."""
        while path and path not in self.locations:
            path = path[:-1]
        return self.locations.get(path, "contrast")


def read(path: Path, name: str | None = None) -> Document:
    """Return the content of a YAML file that holds one mapping.

    Parameters
    ----------
    path
        The file.
    name
        Its name in messages; default: the path.

    Raises
    ------
    ContrastError
        If it cannot be read or is not such a file; names the line.
    """
    name = name or str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ContrastError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = getattr(error, "strerror", None) or error
        raise ContrastError(f"{name}: cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise ContrastError(
            f"{name}:1: {len(raw):,} bytes; a contrast file has at most {MAX_BYTES:,}; move its "
            "stimuli into a table and name that with `file:`"
        )
    document = Document(*parse(decoded(raw, name), name))
    if not isinstance(document.data, dict):
        raise ContrastError(
            f"{name}:1: holds {_kind(document.data)}; it must be a mapping, "
            "`key: value` line by line, starting with `name:`"
        )
    return document


def decoded(raw: bytes, name: str) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Parameters
    ----------
    raw
        The bytes of the file.
    name
        Its name in messages.

    Raises
    ------
    ContrastError
        If it is in another encoding; names the line and the byte.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ContrastError(
            f"{name}:{line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def override(document: Document, change: str) -> Document:
    """Return the document with one value changed.

    Parameters
    ----------
    document
        The document before.
    change
        ``dotted.key=VALUE``, where VALUE is YAML. A number in the key is the index of an item of a
        list, from 0; mappings that do not exist are made.

    Raises
    ------
    ContrastError
        If ``change`` has no ``=``, its value is not YAML, or the key leads into a single value.
    """
    key, equals, value = change.partition("=")
    path = tuple(_key(part) for part in key.strip().split("."))
    location = f"--set {change}" if change.isprintable() else f"--set {change!r}"
    if not equals or "" in path:
        raise ContrastError(f"{location}: must be KEY=VALUE, e.g. --set read.pool=mean")
    if len(path) > MAX_DEPTH:
        raise ContrastError(f"{location}: nested deeper than {MAX_DEPTH} levels")
    new, _ = parse(value, location)
    kept = {p: place for p, place in document.locations.items() if p[: len(path)] != path}
    return Document(_replaced(document.data, path, new, location), {**kept, path: location})


def _replaced(data: Any, path: KeyPath, new: Any, location: str) -> Any:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(data, list):
        if not isinstance(head, int) or head >= len(data):
            raise ContrastError(
                f"{location}: {head!r} is not an index of that list; it has {len(data)} items, "
                "counted from 0"
            )
        return [_replaced(v, rest, new, location) if i == head else v for i, v in enumerate(data)]
    if data is None or isinstance(data, dict):
        known = data or {}
        return {**known, str(head): _replaced(known.get(str(head)), rest, new, location)}
    raise ContrastError(
        f"{location}: there is no {head!r} inside {reprlib.repr(data)}; it is {_kind(data)}"
    )


def _key(part: str) -> str | int:
    return int(part) if part.isdecimal() and len(part) <= _MAX_DIGITS else part


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "a mapping", str: "text", type(None): "nothing"}
    return names.get(type(value), "a single value")
