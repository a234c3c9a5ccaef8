"""Labels by name: replace the numbers of a column, in rows and in `where`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deeploc.contrast.labels import label_name
from deeploc.errors import ContrastError
from deeploc.stimuli.stimulus import Record, cell

Names = Mapping[str, Sequence[str]]
"""Column -> the names of 0, 1, 2 …"""

UNLABELLED = "-1"
"""Stands for "no label" in a column whose data set names the others (the hub's convention)."""


def with_labels(rows: Iterable[Record], declared: Names, own: Names) -> list[Record]:
    """Return the rows with labels in place of numbers.

    Parameters
    ----------
    rows
        Rows of a table.
    declared
        The names that the contrast declares; the rows must have these columns and hold nothing
        else in them.
    own
        The names that the data set declares itself.

    Raises
    ------
    ContrastError
        If a row holds something else; names the row and the labels that exist.
    """
    return [_with_labels(row, declared, {**own, **declared}) for row in rows]


def _with_labels(row: Record, declared: Names, names: Names) -> Record:
    cells = {column: cell(row, column) for column in declared}
    cells |= {column: row.fields[column] for column in names if column in row.fields}
    try:
        labels = {
            column: value
            if value == UNLABELLED and column not in declared
            else label_name(value, names[column])
            for column, value in cells.items()
        }
    except ValueError as error:
        raise ContrastError(f"{row.id}: {error}") from None
    return replace(row, fields={**row.fields, **labels}) if labels else row


def where_labels(where: Mapping[str, Sequence[str]], names: Names) -> dict[str, tuple[str, ...]]:
    """Return the values that ``where`` keeps, with labels in place of numbers.

    Parameters
    ----------
    where
        Column -> values, by name or number.
    names
        Column -> the names of 0, 1, 2 …

    Raises
    ------
    ContrastError
        If a label does not exist; lists those that do.
    """
    try:
        return {
            column: tuple(
                label_name(value, names[column]) if column in names else value for value in values
            )
            for column, values in where.items()
        }
    except ValueError as error:
        raise ContrastError(f"where: {error}") from None
