"""What a contrast holds, as far as it can be told without a network."""

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

_NOT_FETCHED = "not on this machine yet"


@dataclass(frozen=True)
class Holding:
    """A condition: how many stimuli its source has, some of them, where they come from.

    ``kind`` is that of its source. ``n`` is None, and ``missing`` says why, where they cannot be
    read; ``fetchable`` if that is only because they have not been fetched yet.
    """

    condition: str
    kind: str
    origin: str
    n: int | None = None
    samples: tuple[str, ...] = ()
    missing: str | None = None
    fetchable: bool = False


def needs(contrast: Contrast) -> str:
    """Return what its stimuli take beside deeploc: nothing, or files, a download, the hub."""
    kinds = {source.kind for source in contrast.conditions.values()}
    words = {"download": "download", "hub": "hub", "file": "files", "images": "files"}
    return ", ".join(sorted({words[kind] for kind in kinds if kind in words})) or "nothing"


def holdings(contrast: Contrast, folder: Path | None = None) -> list[Holding]:
    """Return what every condition holds, read from ``folder`` if one is given; nothing is fetched.

    Counts are those of the sources, with ``where`` and ``limit``; images are not opened.
    """
    with _offline():
        return [_holding(contrast, name, folder) for name in contrast.conditions]


def _holding(contrast: Contrast, name: str, folder: Path | None) -> Holding:
    source = contrast.conditions[name]
    origin = f"folder {folder}" if folder else _origin(source)
    try:
        read = source if folder is None else source_in_folder(source)
        rows = records(source, base=contrast.base, folder=folder, name=name)
    except ContrastError as error:
        if source.kind in ("download", "hub") and "offline mode" in str(error):
            return Holding(name, source.kind, origin, missing=_NOT_FETCHED, fetchable=True)
        return Holding(name, source.kind, origin, missing=str(error))
    texts = tuple(_sample(row, read) for row in rows[:N_SAMPLES])
    return Holding(name, source.kind, origin, len(rows), texts)


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
    said = getattr(source, source.kind)
    return f"{source.kind} {said if isinstance(said, str) else ', '.join(said)}"


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
