"""Summaries of the conditions of a contrast, made without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deeploc.contrast.model import Contrast
from deeploc.errors import ContrastError
from deeploc.stimuli import Record, Source, records
from deeploc.stimuli.reading import source_in_folder

N_SAMPLES = 3
"""Most sample stimuli of a condition."""

_NOT_FETCHED = "not on this machine yet"


@dataclass(frozen=True)
class ConditionSummary:
    """How many stimuli the source of a condition has, some of them, and where they come from.

    Parameters
    ----------
    condition
        The name of the condition.
    kind
        The kind of its source, e.g. ``file`` or ``download``.
    origin
        The source in words.
    n
        The number of stimuli; None where they cannot be read.
    samples
        The first of them, at most `N_SAMPLES`.
    missing
        Why they cannot be read; None where they can.
    fetchable
        Whether they only have to be downloaded first.
    """

    condition: str
    kind: str
    origin: str
    n: int | None = None
    samples: tuple[str, ...] = ()
    missing: str | None = None
    fetchable: bool = False


def needs(contrast: Contrast) -> str:
    """Return what its stimuli need: ``nothing``, or ``files``, ``download`` and ``hub``."""
    kinds = {source.kind for source in contrast.conditions.values()}
    words = {"download": "download", "hub": "hub", "file": "files", "images": "files"}
    return ", ".join(sorted({words[kind] for kind in kinds if kind in words})) or "nothing"


def summarize_conditions(contrast: Contrast, folder: Path | None = None) -> list[ConditionSummary]:
    """Return a summary of every condition; nothing is downloaded.

    Counts are those of the sources, after ``where`` and ``limit``; images are not opened.

    Parameters
    ----------
    contrast
        Its conditions.
    folder
        Where the stimuli are read from; None for the sources that the contrast declares.
    """
    with _offline():
        return [_summary(contrast, name, folder) for name in contrast.conditions]


def _summary(contrast: Contrast, name: str, folder: Path | None) -> ConditionSummary:
    source = contrast.conditions[name]
    origin = f"folder {folder}" if folder else _origin(source)
    try:
        read = source if folder is None else source_in_folder(source)
        rows = records(source, base=contrast.base, folder=folder, name=name)
    except ContrastError as error:
        if source.kind in ("download", "hub") and "offline mode" in str(error):
            return ConditionSummary(name, source.kind, origin, missing=_NOT_FETCHED, fetchable=True)
        return ConditionSummary(name, source.kind, origin, missing=str(error))
    texts = tuple(_sample(row, read) for row in rows[:N_SAMPLES])
    return ConditionSummary(name, source.kind, origin, len(rows), texts)


def _origin(source: Source) -> str:
    kept = [f"{column} is {' or '.join(values)}" for column, values in (source.where or {}).items()]
    return _place(source) + (f", where {' and '.join(kept)}" if kept else "")


def _place(source: Source) -> str:
    if source.builtin is not None:
        options = ", ".join(map(str, source.builtin.options.values()))
        return f"builtin {source.builtin.generator}{f' ({options})' if options else ''}"
    if source.download is not None:
        return f"download {', '.join(source.download.files)} of {source.download.url}"
    if source.texts is not None:
        return "the contrast file itself"
    value = getattr(source, source.kind)
    return f"{source.kind} {value if isinstance(value, str) else ', '.join(value)}"


def _sample(row: Record, source: Source) -> str:
    if "image" in row.fields:
        return row.id
    default = ("text",) if "text" in row.fields else tuple(row.fields)[:1]
    cells = (row.fields.get(column, "").strip() for column in source.column or default)
    return " ".join(cell for cell in cells if cell) or row.id


@contextmanager
def _offline() -> Iterator[None]:
    before = os.environ.get("DEEPLOC_OFFLINE")
    os.environ["DEEPLOC_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DEEPLOC_OFFLINE"]
        else:
            os.environ["DEEPLOC_OFFLINE"] = before
