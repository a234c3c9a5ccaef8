"""How the shipped tasks read their items: a mapping of condition name to source."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from deeploc.errors import TaskError
from deeploc.stimuli import Record, Source, records, sample
from deeploc.task import TaskContext

_SOURCES = TypeAdapter(dict[str, Source])


def items(
    task: str, options: Mapping[str, Any], columns: Sequence[str], context: TaskContext
) -> dict[str, list[Record]]:
    """Return the records of every condition in ``options``, each with all of ``columns``.

    Raises
    ------
    TaskError
        If there is no condition, or a record lacks one of ``columns``.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If a source is not described as it must be; told with file and line by the caller.
    """
    if not options:
        raise TaskError(
            f"task {task!r} has no items; give them in the contrast file as "
            f"`{task}: {{NAME: {{file: ITEMS.jsonl}}}}` or with --task {task}=ITEMS.jsonl"
        )
    found = {}
    for condition, source in _SOURCES.validate_python(options).items():
        rows = records(source, base=context.base, seed=context.seed, name=condition)
        _check(task, rows, columns)
        found[condition] = sample(rows, context.limit, context.seed, condition)
    return found


def fingerprint(rows: Mapping[str, Sequence[Any]]) -> str:
    """Return the sha256 of the items as they will be measured."""
    text = json.dumps({name: list(map(repr, group)) for name, group in rows.items()})
    return hashlib.sha256(text.encode()).hexdigest()


def _check(task: str, rows: Sequence[Record], columns: Sequence[str]) -> None:
    for row in rows:
        if missing := [column for column in columns if not row.fields.get(column)]:
            raise TaskError(
                f"{row.id}: no {missing[0]!r}; every item of task {task!r} needs "
                f"{' and '.join(columns)}; this one has {', '.join(row.fields)}"
            )
