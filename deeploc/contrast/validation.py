"""Strict pydantic types and models of contrast files, and their errors with file and line."""

import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from deeploc.contrast.file import Document
from deeploc.contrast.yaml import KeyPath
from deeploc.errors import ContrastError, nearest

_PYDANTIC_TYPES = frozenset(get_args(core_schema.ErrorType))
_MAX_LENGTH = 60  # characters of a value in a message

Model = TypeVar("Model", bound="StrictModel")


def as_list(value: Any) -> Any:
    """Return one value as a list of one; lists, mappings and null are returned unchanged."""
    return [value] if isinstance(value, str | int | float) else value


# YAML decides what is text, a number or a boolean; pydantic must not turn one into another.
Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Texts = Annotated[_Texts, BeforeValidator(as_list, json_schema_input_type=Text | _Texts)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Percent = Annotated[float, Strict(), Field(gt=0, le=100)]
Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1)]
"""What every random number generator of NumPy accepts."""

TEXT_TAG, MAPPING_TAG, NUMBER_TAG = "\0text", "\0mapping", "\0number"
"""Tags of unions, which pydantic adds to its paths; no key of a contrast file holds a NUL."""


class StrictModel(BaseModel):
    """A frozen part of a contrast file; the error for an unknown key names the nearest one."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,  # so that `deeploc schema` explains every key
    )

    @model_validator(mode="wrap")
    @classmethod
    def _name_allowed_keys(cls, data: Any, handler: Callable[[Any], Model]) -> Model:
        try:
            return handler(data)
        except ValidationError as error:
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            details = [_detail(part, allowed) for part in error.errors()]
            raise ValidationError.from_exception_data(error.title, details) from None


def errors_at(problems: Iterable[tuple[KeyPath, str]]) -> ValidationError:
    """Return a pydantic error that holds messages about parts of the validated model.

    Parameters
    ----------
    problems
        Path of the part -> message.
    """
    details: list[InitErrorDetails] = [
        {"type": _custom("deeploc_error", message), "loc": path, "input": None}
        for path, message in problems
    ]
    return ValidationError.from_exception_data("contrast", details)


def unknown_keys(keys: Iterable[str], allowed: Sequence[str], more: str = "") -> ValidationError:
    """Return the error for keys that a part of a contrast file does not have.

    Parameters
    ----------
    keys
        The keys.
    allowed
        Those that it may have.
    more
        What else the message says.
    """
    listed = f"allowed: {', '.join(allowed)}{more}"
    details: list[InitErrorDetails] = [
        {
            "type": _custom("unknown_key", f"{nearest(key, allowed)}{listed}"),
            "loc": (key,),
            "input": None,
        }
        for key in keys
    ]
    return ValidationError.from_exception_data("contrast", details)


def is_recorded(info: Any) -> bool:
    """Return whether a contrast is read from a run: its plugins need not be at hand.

    Parameters
    ----------
    info
        What pydantic hands to a validator.
    """
    return bool(info.context and info.context.get("recorded"))


def _custom(kind: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{message}", {"message": message})


def _detail(error: ErrorDetails, allowed: Sequence[str]) -> InitErrorDetails:
    kind: str | PydanticCustomError = error["type"]
    if kind == "extra_forbidden" and len(error["loc"]) == 1:
        hint = f"{nearest(str(error['loc'][0]), allowed)}allowed: {', '.join(allowed)}"
        kind = _custom("unknown_key", hint)
    elif kind not in _PYDANTIC_TYPES:
        kind = _custom(error["type"], error["msg"])
    return {
        "type": kind,
        "loc": error["loc"],
        "input": error["input"],
        "ctx": error.get("ctx", {}),
    }


_EXPECTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text (in quotes if it looks like something else)",
    "string_unicode": "text of whole characters",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_too_short": "some text",
    "too_short": "a list of at least one",
}


def contrast_error(error: ValidationError, document: Document, path: KeyPath = ()) -> ContrastError:
    """Return pydantic's errors as one error with a line ``FILE:LINE: MESSAGE`` for each.

    Parameters
    ----------
    error
        What pydantic raised.
    document
        The contrast file that was validated.
    path
        The part of the document that was validated.
    """
    errors = [part for part in error.errors(include_url=False) if not _is_consequence(part)]
    lines = [_line(part, document, path) for part in errors]
    return ContrastError("\n".join(dict.fromkeys(lines)))


def _is_consequence(error: ErrorDetails) -> bool:
    """Return whether a list is only too short because pydantic left out its wrong items."""
    return error["type"] == "too_short" and bool(error["input"])


def _line(error: ErrorDetails, document: Document, start: KeyPath) -> str:
    path = (*start, *_keys(error))
    message = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "missing":
            noun = "item" if isinstance(path[-1], int) else "key"
            path, what = path[:-1], f"missing {noun} {path[-1]!r}{_inside(path[:-1])}"
        case "unknown_key":
            what = f"unknown key {_repr(str(path[-1]))}{_inside(path[:-1])}; {message}"
        case "extra_forbidden":
            what = f"unknown key {_repr(str(path[-1]))}{_inside(path[:-1])}; leave it out"
        case "value_error" | "deeploc_error":
            what = f"{_dotted(path)}: {message}" if path else message
        case _:
            what = f"{_dotted(path)} is {_json(error['input'])}; {_expectation(error, message)}"
    return f"{document.location(path)}: {what}"


def _keys(error: ErrorDetails) -> Iterator[str | int]:
    """Yield the keys of pydantic's path that are in the file: neither our tags nor its own."""
    for number, key in enumerate(error["loc"]):
        is_own = key == "[key]" and number > 0 and error["type"] != "unknown_key"
        if key not in (TEXT_TAG, MAPPING_TAG, NUMBER_TAG) and not is_own:
            yield key


def _expectation(error: ErrorDetails, message: str) -> str:
    if error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", error.get("ctx", {}).get("expected", ""))
        return f"{nearest(str(error['input']), choices)}it must be one of {', '.join(choices)}"
    if expected := _EXPECTED.get(error["type"]):
        return f"it must be {expected}"
    return re.sub(r"^\w+ should (.*?)( after validation.*)?$", r"it must \1", message)


def _dotted(path: KeyPath) -> str:
    keys = (str(key) for key in path)
    return ".".join(
        key if key.isprintable() and len(key) <= _MAX_LENGTH else _repr(key) for key in keys
    )


def _inside(path: KeyPath) -> str:
    return f" in {_dotted(path)}" if path else ""


def _repr(text: str) -> str:
    short = reprlib.Repr()
    short.maxstring = _MAX_LENGTH
    return short.repr(text)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
