"""Files of text: line by line, whole, and as the rows of csv and tsv tables (RFC 4180)."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from deeploc.contrast.file import decoded
from deeploc.errors import ContrastError

Rows = Iterator[tuple[int, Mapping[str, str]]]
"""The number of each row, as in messages and ids, and its cells."""


def _text_of(path: Path) -> str:
    """Return the text of a UTF-8 file, with plain line breaks.

    Raises
    ------
    ContrastError
        If it cannot be read, or is in another encoding; names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContrastError(f"{path}: cannot be read: {error.strerror}") from None
    return decoded(raw, str(path)).replace("\r\n", "\n").replace("\r", "\n")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, of each line that is not blank, and the line."""
    # not splitlines(): that also breaks at form feeds and at U+2028, which texts may contain
    lines = _text_of(path).split("\n")
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def by_line(path: Path) -> Rows:
    """Yield the number of each line and the line as ``text``."""
    for number, line in lines_of(path):
        yield number, {"text": line.strip()}


def by_file(path: Path) -> Rows:
    """Yield the whole file as one text; line breaks and runs of spaces become single spaces."""
    if text := " ".join(_text_of(path).split()):
        yield 1, {"text": text}


def labelled(path: Path) -> Rows:
    """Yield each line as a text and its label, separated by the last semicolon.

    Raises
    ------
    ContrastError
        If a line has no label; names it.
    """
    for number, line in lines_of(path):
        text, semicolon, label = line.rpartition(";")
        if not semicolon or not label.strip():
            raise ContrastError(
                f"{path}:{number}: no label; each line of a .txt file with labels is `text;label`"
            )
        yield number, {"text": text.strip(), "label": label.strip()}


MAX_CELL = 1_000_000
"""Longest text of one cell, in characters; a longer one is a sign of a broken file."""


def comma(path: Path) -> Rows:
    """Yield the first line of each row of a csv file, and its cells by column.

    Raises
    ------
    ContrastError
        If it is not such a table; names the line.
    """
    return _delimited(path, ",")


def tab(path: Path) -> Rows:
    """Yield the first line of each row of a tsv file, and its cells by column.

    Raises
    ------
    ContrastError
        If it is not such a table; names the line.
    """
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> Rows:
    rows = _cells(path, delimiter)
    first, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    index = int(len(header) > 1 and not header[0])  # the row numbers that pandas writes first
    for name in header[index:]:
        if not name or header.count(name) > 1:
            problem = f"column {name!r} twice" if name else "a column without a name"
            raise ContrastError(f"{path}:{first}: the header has {problem}; name each column once")
    for line, cells in rows:
        if len(cells) != len(header):
            raise ContrastError(
                f"{path}:{line}: {len(cells)} cells but the header has {len(header)} columns; "
                f"put a cell that contains {delimiter!r} in double quotes"
            )
        yield line, dict(zip(header[index:], cells[index:], strict=True))


def _cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line of each row and its cells; blank lines are skipped."""
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
    # csv's limit of 128 KiB belongs to the whole process: raised for one row, then restored
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
