"""What all files of a contrast share: UTF-8, plain values only, and no unknown keys."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
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

from deeploc.errors import ContrastError

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


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'? `` for the known name nearest to ``name``, or nothing.

    Examples
    --------
    >>> nearest("negativ", ["negative", "positive"])
    "did you mean 'negative'? "
    """
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


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
