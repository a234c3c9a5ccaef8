"""Tables of cells between commas or tabs, as RFC 4180 writes them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.stimuli.texts import Rows, text_of

MAX_CELL = 1_000_000
"""Longest text of one cell, in characters: more is a broken file, not a stimulus."""


def comma(path: Path) -> Rows:
    """Yield the line on which each row of a csv file begins, and its cells by column.

    Raises
    ------
    ContrastError
        If it is no such table; names the line.
    """
    return _delimited(path, ",")


def tab(path: Path) -> Rows:
    """Do the same for a tsv file."""
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
    reader = csv.reader(StringIO(text_of(path)), delimiter=delimiter, strict=True)
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
