"""What all files of a contrast share: UTF-8, plain values only, and no unknown keys."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
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
from deeploc.contrast.yaml import Place
from deeploc.errors import ContrastError, nearest

_PYDANTIC_TYPES = frozenset(get_args(core_schema.ErrorType))

Model = TypeVar("Model", bound="StrictModel")


def as_list(value: Any) -> Any:
    """Return one value as a list of one; lists, mappings and null stay what they are."""
    return [value] if isinstance(value, str | int | float) else value


# YAML says what is text, a number or a truth; pydantic must not turn one into another.
Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Texts = Annotated[_Texts, BeforeValidator(as_list, json_schema_input_type=Text | _Texts)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Percent = Annotated[float, Strict(), Field(gt=0, le=100)]


class StrictModel(BaseModel):
    """A frozen part of a contrast file; an unknown key is told with the nearest allowed one."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,  # so that `deeploc schema` says what every key means
    )

    @model_validator(mode="wrap")
    @classmethod
    def _tell_allowed_keys(cls, data: Any, handler: Callable[[Any], Model]) -> Model:
        try:
            return handler(data)
        except ValidationError as error:
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            details = [_detail(fault, allowed) for fault in error.errors()]
            raise ValidationError.from_exception_data(error.title, details) from None


def _detail(fault: ErrorDetails, allowed: Sequence[str]) -> InitErrorDetails:
    kind: str | PydanticCustomError = fault["type"]
    if kind == "extra_forbidden" and len(fault["loc"]) == 1:
        hint = f"{nearest(str(fault['loc'][0]), allowed)}allowed: {', '.join(allowed)}"
        kind = PydanticCustomError("unknown_key", "{hint}", {"hint": hint})
    elif kind not in _PYDANTIC_TYPES:
        kind = PydanticCustomError(fault["type"], "{hint}", {"hint": fault["msg"]})
    return {
        "type": kind,
        "loc": fault["loc"],
        "input": fault["input"],
        "ctx": fault.get("ctx", {}),
    }


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
