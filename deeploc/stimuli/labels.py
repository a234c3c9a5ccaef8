"""What the numbers of a column mean: labels by name, in files that hold numbers and in `where`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deeploc.contrast.labels import name_of
from deeploc.errors import ContrastError
from deeploc.stimuli.stimulus import Record, cell

Names = Mapping[str, Sequence[str]]
"""Column -> the names of 0, 1, 2 …"""

UNLABELLED = "-1"
"""Stands for "no label" in a column whose data set names the others (the hub's convention)."""


def named(rows: Iterable[Record], declared: Names, own: Names) -> list[Record]:
    """Return the rows with labels in place of numbers.

    ``declared`` is what the contrast says of columns that must then be there and hold nothing
    else, ``own`` what the data set says itself.

    Raises
    ------
    ContrastError
        If a row holds something else; names the row and the labels that exist.
    """
    return [_named(row, declared, {**own, **declared}) for row in rows]


def _named(row: Record, declared: Names, names: Names) -> Record:
    cells = {column: cell(row, column) for column in declared}
    cells |= {column: row.fields[column] for column in names if column in row.fields}
    try:
        labels = {
            column: said
            if said == UNLABELLED and column not in declared
            else name_of(said, names[column])
            for column, said in cells.items()
        }
    except ValueError as fault:
        raise ContrastError(f"{row.id}: {fault}") from None
    return replace(row, fields={**row.fields, **labels}) if labels else row


def asked(where: Mapping[str, Sequence[str]], names: Names) -> dict[str, tuple[str, ...]]:
    """Return what ``where`` keeps, with labels in place of numbers.

    Raises
    ------
    ContrastError
        If it asks for a label that does not exist; lists those that do.
    """
    try:
        return {
            column: tuple(
                name_of(value, names[column]) if column in names else value for value in values
            )
            for column, values in where.items()
        }
    except ValueError as fault:
        raise ContrastError(f"where: {fault}") from None
