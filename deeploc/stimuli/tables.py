"""Read csv, tsv, jsonl, parquet and txt files as records; errors name file and line."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from deeploc.contrast.sources import as_text
from deeploc.errors import ContrastError
from deeploc.stimuli import arrow
from deeploc.stimuli.stimulus import Record
from deeploc.stimuli.texts import MAX_CELL, Rows, by_file, by_line, comma, labelled, lines_of, tab

Txt = Literal["line", "file", "labelled"]
"""How .txt files are read."""


def find(patterns: Sequence[str], root: Path) -> list[Path]:
    """Return the files that paths or globs name, each once, sorted per pattern.

    Parameters
    ----------
    patterns
        Paths or globs, absolute or below ``root``.
    root
        A folder.

    Raises
    ------
    ContrastError
        If one of ``patterns`` names no file.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        hits = _matches(pattern, root)
        if not hits:
            raise ContrastError(
                f"no file matches {pattern!r} in {root}; relative paths start at the folder of "
                "the contrast file, or at the one that --stimuli DIR names"
            )
        files.update(dict.fromkeys(hits))
    return list(files)


def _matches(pattern: str, root: Path) -> list[Path]:
    exact = root / pattern
    if exact.is_file():
        return [exact]
    return sorted(hit for hit in expand(pattern, root) if hit.is_file())


def expand(pattern: str, root: Path) -> list[Path]:
    """Return the files and folders that a glob matches, in no order.

    Parameters
    ----------
    pattern
        The glob, absolute or below ``root``.
    root
        A folder.

    Raises
    ------
    ContrastError
        If it is not a glob.
    """
    start = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else root
    relative = Path(pattern).relative_to(start) if Path(pattern).is_absolute() else Path(pattern)
    try:
        return list(start.glob(str(relative)))
    except ValueError as error:
        raise ContrastError(f"{pattern!r} is not a glob: {error}".lower()) from None


def read_all(paths: Sequence[Path], root: Path, txt: Txt = "line") -> list[Record]:
    """Return the records of several files in order; ids start with file names.

    Parameters
    ----------
    paths
        The files.
    root
        Where two files have the same name, ids start with the path below this folder.
    txt
        How .txt files are read: a text per ``line``, each ``file`` one text, or a text and its
        label per line, separated by the last semicolon (``labelled``).

    Raises
    ------
    ContrastError
        If the content of a file does not fit its ending; names file and line.
    """
    names = [path.name for path in paths]
    unambiguous = len(set(names)) == len(names)
    labels = names if unambiguous else [_below(path, root) for path in paths]
    return [
        record
        for path, label in zip(paths, labels, strict=True)
        for record in read(path, label, txt)
    ]


def read(path: Path, label: str | None = None, txt: Txt = "line") -> list[Record]:
    """Return the records of one file.

    Ids are ``LABEL:LINE``; of a parquet file ``LABEL:ROW``, counted from 0, and of a whole text
    file ``LABEL``.

    Parameters
    ----------
    path
        The file.
    label
        Begins the ids; default: the name of the file.
    txt
        How a .txt file is read, see `read_all`.

    Raises
    ------
    ContrastError
        If the content does not fit the ending; names file and line.
    """
    suffix = path.suffix.lower()
    reader = _TXT[txt] if suffix == ".txt" else _READERS.get(suffix)
    if reader is None:
        raise ContrastError(
            f"{path}: cannot read {path.suffix or 'a file without ending'!r}; "
            f"there are readers for {', '.join(SUFFIXES)}"
        )
    if txt == "file" and suffix != ".txt":
        raise ContrastError(f"{path}: `per: file` reads .txt files; leave it out for tables")
    records, folder = [], path.absolute().parent
    for line, fields in reader(path):
        check_cells(f"{path}:{line}", fields)
        place = label or path.name
        records.append(Record(place if txt == "file" else f"{place}:{line}", fields, folder))
    if not records:
        raise ContrastError(f"{path}: no rows; a table needs at least one below its header")
    return records


def check_cells(place: str, fields: Mapping[str, str]) -> None:
    """Refuse a row with a cell that is too long for a stimulus.

    Parameters
    ----------
    place
        The row, for the message.
    fields
        Column -> cell.

    Raises
    ------
    ContrastError
        If a cell holds more than `MAX_CELL` characters.
    """
    for column, text in fields.items():
        if len(text) > MAX_CELL:
            raise ContrastError(
                f"{place}: column {column!r} holds {len(text):,} characters; at most "
                f"{MAX_CELL:,} are allowed; is a quote never closed?"
            )


def class_names(paths: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Return column -> the names of 0, 1, 2 … that parquet files declare.

    Raises
    ------
    ContrastError
        If two files declare different names for one column.
    """
    declared: dict[str, tuple[str, ...]] = {}
    for path in paths:
        own = arrow.class_names(path) if path.suffix.lower() == ".parquet" else {}
        for column, names in own.items():
            if declared.setdefault(column, names) != names:
                raise ContrastError(
                    f"{path}: the numbers of column {column!r} mean {', '.join(names)}, but in the "
                    f"files before it {', '.join(declared[column])}; read them as two conditions"
                )
    return declared


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _jsonl(path: Path) -> Rows:
    for number, line in lines_of(path):
        yield number, _object(line, f"{path}:{number}")


def _object(line: str, place: str) -> dict[str, str]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ContrastError(
            f'{place}: not JSON: {reason}; each line must be one object, e.g. {{"text": "a b c"}}'
        ) from None
    if not isinstance(value, dict):
        raise ContrastError(f'{place}: not a JSON object; write it like {{"text": "a b c"}}')
    return {key: as_text(cell) for key, cell in value.items() if cell is not None}


_TXT: Mapping[Txt, Callable[[Path], Rows]] = {
    "line": by_line,
    "file": by_file,
    "labelled": labelled,
}

_READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".csv": comma,
    ".tsv": tab,
    ".jsonl": _jsonl,
    ".parquet": arrow.parquet,
}

SUFFIXES = (*_READERS, ".txt")
"""Endings of the files that are tables."""
