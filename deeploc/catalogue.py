"""What a contrast holds, as far as it can be told without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deeploc.contrast import Contrast
from deeploc.errors import ContrastError
from deeploc.stimuli import Record, Source, records

N_SAMPLES = 3


@dataclass(frozen=True)
class Holding:
    """A condition: how many stimuli its source has, some of them, where they come from.

    ``n`` is None, and ``missing`` says why, where they are not on this machine.
    """

    condition: str
    origin: str
    n: int | None = None
    samples: tuple[str, ...] = ()
    missing: str | None = None


def needs(contrast: Contrast) -> str:
    """Return what a contrast needs beside deeploc: ``-``, ``download``, ``hub`` or ``a folder``."""
    kinds = {source.kind for source in contrast.conditions.values()}
    words = {"download": "download", "hub": "hub", "file": "a folder", "images": "a folder"}
    return ", ".join(sorted({words[kind] for kind in kinds if kind in words})) or "-"


def holdings(contrast: Contrast, folder: Path | None = None) -> list[Holding]:
    """Return what every condition holds, read from ``folder`` if one is given; nothing is fetched.

    Counts are those of the sources, with ``where`` and ``limit``; images are not opened.
    """
    with _offline():
        return [_holding(contrast, name, folder) for name in contrast.conditions]


def _holding(contrast: Contrast, name: str, folder: Path | None) -> Holding:
    source = contrast.conditions[name]
    origin = str(folder) if folder else _origin(source)
    try:
        rows = records(source, base=contrast.base, folder=folder, name=name)
    except ContrastError as error:
        return Holding(name, origin, missing=str(error))
    texts = tuple(_sample(row, source) for row in rows[:N_SAMPLES])
    return Holding(name, origin, len(rows), texts)


def _origin(source: Source) -> str:
    if source.builtin is not None:
        options = ", ".join(map(str, source.builtin.options.values()))
        return f"builtin {source.builtin.generator}{f' ({options})' if options else ''}"
    if source.download is not None:
        return f"download {source.download.url}"
    if source.texts is not None:
        return "the contrast file itself"
    said = getattr(source, source.kind)
    return f"{source.kind} {said if isinstance(said, str) else ', '.join(said)}"


def _sample(row: Record, source: Source) -> str:
    if "image" in row.fields:
        return row.id
    columns = source.column or ("text",)
    return " ".join(row.fields[column] for column in columns if column in row.fields) or row.id


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
