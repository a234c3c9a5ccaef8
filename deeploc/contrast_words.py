"""The words of a contrast file: names, comparisons and tasks, as they may be written."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag, WithJsonSchema

from deeploc.strict import Number, Text, as_list


def is_name(name: str) -> str:
    """Return ``name`` if it may be that of a contrast or a condition.

    Raises
    ------
    ValueError
        If it has other characters than letters, digits, ``_`` and ``-``.
    """
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"{name!r} is no name; use letters, digits, '_' and '-', "
            f"e.g. {re.sub(r'[^a-zA-Z0-9_-]+', '-', name).strip('-') or 'faces'!r}"
        )
    return name


def _is_task(entry: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    if isinstance(entry, str):
        return entry
    if len(entry) != 1:
        raise ValueError(
            f"a task is its name, or one name with its options below it; this has "
            f"{', '.join(entry) or 'nothing'}; start each task with a dash of its own"
        )
    ((name, options),) = entry.items()
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"the options of task {name!r} must be a mapping, `key: value`")
    return entry


def _form(value: Any) -> str:
    return "(mapping)" if isinstance(value, Mapping) else "(text)"


# Editors read patterns as JavaScript does, whose \w knows no letter beyond ASCII: so this says
# which characters are none of a name's.
_NOT_IN_NAMES = r"\s!-,./:-@[-^`{-~"
_NAME = f"^[^{_NOT_IN_NAMES}-][^{_NOT_IN_NAMES}]*$"
Name = Annotated[str, AfterValidator(is_name), WithJsonSchema({"type": "string", "pattern": _NAME})]
_Sides = Annotated[Text, WithJsonSchema({"type": "string", "pattern": "^[^>]+>[^>]+$"})]
Said = Annotated[
    Annotated[_Sides, Tag("(text)")] | Annotated[Mapping[str, Number], Tag("(mapping)")],
    Discriminator(_form),
]
_Options = Annotated[
    Mapping[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["object", "null"]},
            "minProperties": 1,
            "maxProperties": 1,
        }
    ),
]
Entry = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[_Options, Tag("(mapping)")],
    Discriminator(_form),
    AfterValidator(_is_task),
]
_Entries = tuple[Entry, ...]
Entries = Annotated[_Entries, BeforeValidator(as_list, json_schema_input_type=Text | _Entries)]
