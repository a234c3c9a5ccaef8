"""Read csv, tsv, jsonl and txt files as records; every fault is told with file and line."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.stimuli.sources import as_text
from deeploc.stimuli.stimulus import Record
from deeploc.strict import decoded

MAX_CELL = 1_000_000
"""Longest text of one cell, in characters: more is a broken file, not a stimulus."""


def find(patterns: Sequence[str], root: Path) -> list[Path]:
    """Return the files that paths or globs below ``root`` name, each once, sorted per pattern.

    Raises
    ------
    ContrastError
        If one of ``patterns`` names no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        hits = _matches(pattern, root)
        if not hits:
            raise ContrastError(
                f"no file matches {pattern!r} in {root}; relative paths start at the folder of "
                "the contrast file, or at the one given with --stimuli"
            )
        found.update(dict.fromkeys(hits))
    return list(found)


def _matches(pattern: str, root: Path) -> list[Path]:
    exact = root / pattern
    if exact.is_file():
        return [exact]
    return sorted(hit for hit in expand(pattern, root) if hit.is_file())


def expand(pattern: str, root: Path) -> list[Path]:
    """Return what a glob matches, absolute or below ``root``, in no order.

    Raises
    ------
    ContrastError
        If it is no glob.
    """
    start = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else root
    relative = Path(pattern).relative_to(start) if Path(pattern).is_absolute() else Path(pattern)
    try:
        return list(start.glob(str(relative)))
    except ValueError as error:
        raise ContrastError(f"{pattern!r} is no glob: {error}".lower()) from None


def read_all(paths: Sequence[Path], root: Path) -> list[Record]:
    """Return the records of several files in order; ids start with the shortest clear file name.

    Raises
    ------
    ContrastError
        If a file cannot be read as what its name says; names file and line.
    """
    names = [path.name for path in paths]
    clear = len(set(names)) == len(names)
    labels = names if clear else [_below(path, root) for path in paths]
    return [
        record for path, label in zip(paths, labels, strict=True) for record in read(path, label)
    ]


def read(path: Path, label: str | None = None) -> list[Record]:
    """Return the records of one file, with ids ``LABEL:LINE``.

    Raises
    ------
    ContrastError
        If the file cannot be read as what its name says; names file and line.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise ContrastError(
            f"{path}: cannot read {path.suffix or 'a file without ending'!r}; "
            f"there are readers for {known}"
        )
    records, folder = [], path.absolute().parent
    for line, fields in reader(path):
        for column, cell in fields.items():
            if len(cell) > MAX_CELL:
                raise ContrastError(
                    f"{path}:{line}: column {column!r} holds {len(cell):,} characters; at most "
                    f"{MAX_CELL:,} are allowed; is a quote never closed?"
                )
        records.append(Record(f"{label or path.name}:{line}", fields, folder))
    if not records:
        raise ContrastError(f"{path}: no rows; a table needs at least one below its header")
    return records


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


Rows = Iterator[tuple[int, Mapping[str, str]]]


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContrastError(f"{path}: cannot be read: {error.strerror}") from None
    return decoded(raw, str(path)).replace("\r\n", "\n").replace("\r", "\n")


def _csv(path: Path) -> Rows:
    return _delimited(path, ",")


def _tsv(path: Path) -> Rows:
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> Rows:
    rows = _cells(path, delimiter)
    first, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    for name in header:
        if not name or header.count(name) > 1:
            fault = f"column {name!r} twice" if name else "a column without a name"
            raise ContrastError(f"{path}:{first}: the header has {fault}; name each column once")
    for line, cells in rows:
        if len(cells) != len(header):
            raise ContrastError(
                f"{path}:{line}: {len(cells)} cells but the header has {len(header)} columns; "
                f"put a cell that contains {delimiter!r} in double quotes"
            )
        yield line, dict(zip(header, cells, strict=True))


def _cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which a row begins and its cells; blank lines are no rows."""
    reader = csv.reader(StringIO(_text_of(path)), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            with _long_cells():
                cells = next(reader, None)
        except csv.Error as error:
            raise ContrastError(
                f"{path}:{line}: not a table: {error}; is a double quote missing or not doubled?"
            ) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


@contextmanager
def _long_cells() -> Iterator[None]:
    # csv's limit of 128 KiB belongs to the whole process: raised for one row, then put back
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    # not splitlines(): that also breaks at form feeds and at U+2028, which texts may contain
    lines = _text_of(path).split("\n")
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _jsonl(path: Path) -> Rows:
    for number, line in _lines(path):
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


def _txt(path: Path) -> Rows:
    for number, line in _lines(path):
        yield number, {"text": line.strip()}


_READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".txt": _txt,
}
