"""Rows of a dataclass as a table, and back."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_table(rows: "Iterable[DataclassInstance]", columns: Sequence[str]) -> str:
    """Return a csv table with a line per row, floats written so that they read back unchanged.

    Parameters
    ----------
    rows
        Values of one dataclass.
    columns
        The names of its fields.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def from_table(text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the fields of every row of a table that `to_table` wrote; ends of lines stay.

    Parameters
    ----------
    text
        The table.
    columns
        Those that it must have.

    Raises
    ------
    ValueError
        If it has other columns, or a row has more or fewer fields.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames != list(columns):
        raise ValueError(f"its columns are not {', '.join(columns)}")
    rows = list(reader)
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"a row has not {len(columns)} fields")
    return rows
