"""Pydantic's validation errors in deeploc's words: place, what is wrong, what would be right."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deeploc.contrast_file import Document
from deeploc.errors import ContrastError
from deeploc.strict import nearest
from deeploc.strict_yaml import Place

_EXPECTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text (in quotes if it looks like something else)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_too_short": "some text",
    "too_short": "a list of at least one",
}


def tell(error: ValidationError, document: Document, at: Place = ()) -> ContrastError:
    """Return every fault as a line ``PLACE: what``; ``at`` is where the validated part stands."""
    faults = [fault for fault in error.errors(include_url=False) if not _follows(fault)]
    lines = [_line(fault, document, at) for fault in faults]
    return ContrastError("\n".join(dict.fromkeys(lines)))


def _follows(fault: ErrorDetails) -> bool:
    """Return whether a list is only short because pydantic left out its faulty items."""
    return fault["type"] == "too_short" and bool(fault["input"])


def _line(fault: ErrorDetails, document: Document, at: Place) -> str:
    path = at + tuple(_steps(fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "missing":
            noun = "item" if isinstance(path[-1], int) else "key"
            what = f"missing {noun} {path[-1]!r}{_inside(path[:-1])}"
            return f"{document.place(path[:-1])}: {what}"
        case "unknown_key":
            what = f"unknown key {str(path[-1])!r}{_inside(path[:-1])}; {message}"
        case "extra_forbidden":
            what = f"unknown key {str(path[-1])!r}{_inside(path[:-1])}; leave it out"
        case "value_error":
            what = f"{_dotted(path)}: {message}" if path else message
        case _:
            what = f"{_dotted(path)} is {_shown(fault['input'])}; {_expectation(fault, message)}"
    return f"{document.place(path)}: {what}"


def _steps(loc: Place) -> Iterator[str | int]:
    """Yield the parts of pydantic's path that stand in the file: neither our tags nor its own."""
    yield from (part for part in loc if not str(part).startswith(("(", "[key]")))


def _expectation(fault: ErrorDetails, message: str) -> str:
    if fault["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", fault.get("ctx", {}).get("expected", ""))
        return f"{nearest(str(fault['input']), choices)}it must be one of {', '.join(choices)}"
    if expected := _EXPECTED.get(fault["type"]):
        return f"it must be {expected}"
    return re.sub(r"^\w+ should (.*?)( after validation.*)?$", r"it must \1", message)


def _dotted(path: Place) -> str:
    return ".".join(map(str, path))


def _inside(path: Place) -> str:
    return f" in {_dotted(path)}" if path else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
