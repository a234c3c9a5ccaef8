"""Contrast files as data: what a file says, where it says it, and changes made from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc.contrast.yaml import Place, parse
from deeploc.errors import ContrastError

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Document:
    """What a file says, and for messages the place (``FILE:LINE``) of each value in it."""

    data: Any
    places: Mapping[Place, str]

    def place(self, path: Place) -> str:
        """Return the place of the value at ``path``, or of the innermost part that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "contrast")


def read(path: Path, name: str | None = None) -> Document:
    """Read a YAML file that holds one mapping; messages call it ``name`` (default: its path).

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
    except OSError as error:
        raise ContrastError(f"{name}: cannot be read: {error.strerror}") from None
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
    """Return the text of a UTF-8 file, without a byte order mark; messages call it ``name``.

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
    """Return the document with one value changed by ``dotted.key=VALUE`` (VALUE is YAML).

    A number in the key counts the items of a list from 0; mappings on the way are made.

    Raises
    ------
    ContrastError
        If ``change`` has no ``=``, its value is no YAML, or there is nothing to go into.
    """
    key, equals, value = change.partition("=")
    path = tuple(_step(part) for part in key.strip().split("."))
    if not equals or "" in path:
        raise ContrastError(f"--set {change}: must be KEY=VALUE, e.g. --set read.pool=mean")
    place = f"--set {change}"
    new, _ = parse(value, place)
    places = {p: where for p, where in document.places.items() if p[: len(path)] != path}
    return Document(_replaced(document.data, path, new, place), {**places, path: place})


def _replaced(data: Any, path: Place, new: Any, place: str) -> Any:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(data, list):
        if not isinstance(head, int) or head >= len(data):
            raise ContrastError(
                f"{place}: {head!r} is no item of that list; it has 0 to {len(data) - 1}"
            )
        return [_replaced(v, rest, new, place) if i == head else v for i, v in enumerate(data)]
    if data is None or isinstance(data, dict):
        known = data or {}
        return {**known, str(head): _replaced(known.get(str(head)), rest, new, place)}
    raise ContrastError(f"{place}: there is no {head!r} inside {data!r}; it is {_kind(data)}")


def _step(part: str) -> str | int:
    return int(part) if part.isdecimal() else part


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "a mapping", str: "text", type(None): "nothing"}
    return names.get(type(value), "a single value")
