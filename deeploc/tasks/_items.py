"""How the shipped tasks read their items: a mapping of condition name to source."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from deeploc.core.task import TaskContext
from deeploc.errors import TaskError
from deeploc.stimuli import Record, Source, Stimulus, readable, records, sample
from deeploc.stimuli.image_files import shown

_log = logging.getLogger(__name__)

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
    sources = _SOURCES.validate_python(options)
    return {name: _drawn(task, name, sources[name], columns, context) for name in sources}


def labelled(
    task: str, options: Mapping[str, Any], context: TaskContext
) -> dict[str, list[tuple[Stimulus, str]]]:
    """Return the images of every condition in ``options``, each with its label.

    Sources are image files, labelled by their folder, or tables with a column ``label`` and one
    for the image, a path below the table's folder: ``image``, or what ``column`` says. Images
    that cannot be read are left out and told in a warning, or an error if the context is strict.

    Raises
    ------
    TaskError
        If a row lacks image or label, or no image of a condition can be read.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If a source is not described as it must be; told with file and line by the caller.
    """
    found = {}
    for name, source in _SOURCES.validate_python(options).items():
        columns = [*(source.column or ("image",)), "label"]
        rows = _drawn(task, name, source, columns, context)
        stimuli = [shown(row, columns[0]) for row in rows]
        kept, left_out = readable(name, stimuli, strict=context.strict)
        if not kept:
            raise TaskError(
                f"task {task!r}: none of {len(left_out)} images can be read, the first: "
                f"{left_out[0]}; name others"
            )
        for image in left_out:
            _log.warning("task %r leaves out %s", task, image)
        labels = {stimulus.id: r.fields["label"] for stimulus, r in zip(stimuli, rows, strict=True)}
        found[name] = [(stimulus, labels[stimulus.id]) for stimulus in kept]
    return found


def fingerprint(rows: Mapping[str, Sequence[Any]]) -> str:
    """Return the sha256 of the items as they will be measured."""
    text = json.dumps({name: list(map(repr, group)) for name, group in rows.items()})
    return hashlib.sha256(text.encode()).hexdigest()


def _drawn(
    task: str, condition: str, source: Source, columns: Sequence[str], context: TaskContext
) -> list[Record]:
    rows = records(source, base=context.base, seed=context.seed, name=condition)
    _check(task, rows, columns)
    return sample(rows, context.limit, context.seed, condition)


def _check(task: str, rows: Sequence[Record], columns: Sequence[str]) -> None:
    for row in rows:
        if missing := [column for column in columns if not row.fields.get(column)]:
            raise TaskError(
                f"{row.id}: no {missing[0]!r}; every item of task {task!r} needs "
                f"{' and '.join(columns)}; this one has {', '.join(row.fields)}"
            )
