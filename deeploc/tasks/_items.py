"""Items of tasks, read from a mapping of condition name to source."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from deeploc.core.task import TaskContext
from deeploc.errors import TaskError
from deeploc.stimuli import Record, Source, Stimulus, readable, records, sample
from deeploc.stimuli.image_files import shown as image_of

_log = logging.getLogger(__name__)

_SOURCES = TypeAdapter(dict[str, Source])


def read_items(
    task: str, options: Mapping[str, Any], columns: Sequence[str], context: TaskContext
) -> dict[str, list[Record]]:
    """Return the records of every condition in ``options``, each with all of ``columns``.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        Condition -> source of its items, as the contrast file gives it.
    columns
        Names of the columns that every record must have, with a value that is not empty.
    context
        Gives the folder of relative paths, the seed and the largest number of items a condition.

    Raises
    ------
    TaskError
        If there is no condition, or a record lacks one of ``columns``.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the description of a source is not valid; the caller adds file and line.
    """
    if not options:
        raise TaskError(
            f"task {task!r} has no items; give them in the contrast file as "
            f"`{task}: {{NAME: {{file: ITEMS.jsonl}}}}` or with --task {task}=ITEMS.jsonl"
        )
    sources = _SOURCES.validate_python(options)
    return {name: _sampled(task, name, sources[name], columns, context) for name in sources}


def read_labelled_images(
    task: str, options: Mapping[str, Any], context: TaskContext
) -> dict[str, list[tuple[Stimulus, str]]]:
    """Return the images of every condition in ``options``, each with its label.

    Sources are image files, labelled by their folder, or tables with a column ``label`` and one
    for the image, a path below the table's folder: ``image``, or the source's ``column``. An
    image that cannot be read is left out with a warning; it is an error if the context is strict.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        Condition -> source of its images, as the contrast file gives it.
    context
        Gives the folder of relative paths, the seed, the largest number of images a condition,
        and whether an unreadable image is an error.

    Raises
    ------
    TaskError
        If a row lacks image or label, or no image of a condition can be read.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the description of a source is not valid; the caller adds file and line.
    """
    labelled = {}
    for name, source in _SOURCES.validate_python(options).items():
        columns = [*(source.column or ("image",)), "label"]
        rows = _sampled(task, name, source, columns, context)
        stimuli = [image_of(row, columns[0]) for row in rows]
        kept, left_out = readable(name, stimuli, strict=context.strict)
        if not kept:
            raise TaskError(
                f"task {task!r}: none of {len(left_out)} images can be read, the first: "
                f"{left_out[0]}; name others"
            )
        for image in left_out:
            _log.warning("task %r leaves out %s", task, image)
        labels = {stimulus.id: r.fields["label"] for stimulus, r in zip(stimuli, rows, strict=True)}
        labelled[name] = [(stimulus, labels[stimulus.id]) for stimulus in kept]
    return labelled


def items_hash(items: Mapping[str, Sequence[Any]]) -> str:
    """Return the sha256 of ``items``: condition -> its items, identified by their ``repr``."""
    text = json.dumps({name: list(map(repr, group)) for name, group in items.items()})
    return hashlib.sha256(text.encode()).hexdigest()


def _sampled(
    task: str, condition: str, source: Source, columns: Sequence[str], context: TaskContext
) -> list[Record]:
    rows = records(source, base=context.base, seed=context.seed, name=condition)
    _check_columns(task, rows, columns)
    return sample(rows, context.limit, context.seed, condition)


def _check_columns(task: str, rows: Sequence[Record], columns: Sequence[str]) -> None:
    for row in rows:
        if missing := [column for column in columns if not row.fields.get(column)]:
            raise TaskError(
                f"{row.id}: no {missing[0]!r}; every item of task {task!r} needs "
                f"{' and '.join(columns)}; this one has {', '.join(row.fields)}"
            )
