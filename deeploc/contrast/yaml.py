"""Strict YAML: plain values only, each with its line; nothing in a file is executed.

Accepted is a part of YAML 1.2: mappings with text keys, lists, and text, whole numbers, numbers,
true, false and null. ``yes``, ``no`` and ``on`` are text, and so are dates.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from deeploc.errors import ContrastError

KeyPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value in a document."""

MAX_NODES = 10_000
"""Most values in a document, aliases counted in full."""

MAX_DEPTH = 40
"""Deepest level of nested mappings and lists."""

_CORE_SCHEMA: Sequence[tuple[str, Callable[[str], Any]]] = (
    (r"|~|null|Null|NULL", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"[-+]?[0-9]{1,18}", int),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)
"""Plain scalars that are not text. Source: YAML 1.2.2, section 10.3.2 (without 0o and 0x)."""

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # can be escaped in YAML, but not stored or encoded


def parse(text: str, name: str) -> tuple[Any, dict[KeyPath, str]]:
    """Return the value of one YAML document, and the location ``NAME:LINE`` of every value in it.

    Parameters
    ----------
    text
        The document.
    name
        Its name in messages.

    Raises
    ------
    ContrastError
        If it is not YAML, or holds more than plain values; names the line.
    """
    builder = _Builder(name, iter(yaml.parse(text, Loader=yaml.SafeLoader)))
    try:
        return builder.document(), builder.locations
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = f"{name}:{mark.line + 1}" if mark else name
        raise ContrastError(f"{location}: {_reason(error)}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter of escaped numbers
        raise ContrastError(f"{name}:1: not YAML: {' '.join(str(error).split())}") from None


@dataclass
class _Builder:
    """Builds plain values from YAML events, and counts them: aliases can multiply."""

    name: str
    events: Iterator[Any]
    locations: dict[KeyPath, str] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    nodes: int = 0

    def document(self) -> Any:
        """Return the value of the only document."""
        next(self.events)  # start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise ContrastError(f"{self.name}:1: the file is empty; it needs at least `name:`")
        value = self._value(next(self.events), ())
        next(self.events)  # end of the document
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, "a second document begins; write one contrast per file")
        return value

    def _value(self, event: Any, path: KeyPath) -> Any:
        self.locations.setdefault(path, f"{self.name}:{event.start_mark.line + 1}")
        if len(path) > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        before = self.nodes
        self._count(event, 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._refuse_tag(event)
        value = self._built(event, path)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def _built(self, event: Any, path: KeyPath) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.tag is None
            return _plain(event.value) if plain else self._text(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = enumerate(iter(lambda: next(self.events), None))
            return [
                self._value(item, (*path, index))
                for index, item in _until(items, yaml.SequenceEndEvent)
            ]
        return self._mapping(path)

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in built:
                raise self._error(
                    event,
                    f"key {key!r} appears twice, first in line {lines[key]}; keep one of them",
                )
            lines[key] = event.start_mark.line + 1
            self.locations[*path, key] = f"{self.name}:{lines[key]}"
            built[key] = self._value(next(self.events), (*path, key))
        return built

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, "a key must be text, not a list, a mapping or an alias")
        self._refuse_tag(event)
        self._count(event, 1)
        if event.implicit[0] and not isinstance(_plain(event.value), str):
            raise self._error(
                event,
                f"key {event.value or 'null'} is not text; write it in quotes if it is intended",
            )
        return self._text(event)

    def _text(self, event: Any) -> str:
        text: str = event.value
        if sign := _NOT_TEXT.search(text):
            raise self._error(
                event,
                f"text with the character {sign[0]!a}, which no file can hold; remove it",
            )
        return text

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self._error(
                event, f"alias *{event.anchor} has no complete anchor &{event.anchor} before it"
            )
        value, size = self.anchors[event.anchor]
        self._count(event, size)
        return value

    def _count(self, event: Any, more: int) -> None:
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise self._error(
                event,
                f"more than {MAX_NODES:,} values, aliases counted in full; move stimuli into a "
                "table and name that with `file:`",
            )

    def _refuse_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            raise self._error(
                event, f"tag {event.tag!r} is not allowed; a contrast file holds plain values only"
            )

    def _error(self, event: Any, message: str) -> ContrastError:
        return ContrastError(f"{self.name}:{event.start_mark.line + 1}: {message}")


def _until(items: Iterator[tuple[int, Any]], end: type) -> Iterator[tuple[int, Any]]:
    for index, event in items:
        if isinstance(event, end):
            return
        yield index, event


def _plain(text: str) -> Any:
    for pattern, convert in _CORE_SCHEMA:
        if re.fullmatch(pattern, text):
            return convert(text)
    return text


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    tab = "'\\t'" in reason
    hint = "; indent with spaces, not tabs" if tab else "; check indentation, quotes and colons"
    return f"not YAML: {' '.join(reason.split())}{hint}"
