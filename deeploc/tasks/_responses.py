"""Measured responses to texts, read from a table or from netCDF."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from deeploc.errors import TaskError, nearest
from deeploc.stimuli import Record
from deeploc.stimuli.tables import read

PASSAGE = "passage"
"""The column that says which passage a stimulus is of, where no other is named."""

VALUE = "value"
"""The column that holds the responses, where no other is named."""

OF_WHOM = ("subject", "region", "neuroid")
"""The columns that tell responses of a long table apart, where no others are named."""

_MISSING = frozenset({"", "nan", "na", "none", "null"})


@dataclass(frozen=True)
class Columns:
    """What the columns of a table, or the coordinates of an array, are called.

    Parameters
    ----------
    stimulus
        The text.
    group
        Its passage; None: `PASSAGE`, if there is one.
    value
        The responses, one or several columns; None: `VALUE`, else every column that is nothing
        else.
    response
        What tells responses in one column apart; None: those of `OF_WHOM` that there are.
    ceiling
        The noise ceiling of the response; None: there is none.
    """

    stimulus: str = "stimulus"
    group: str | None = None
    value: tuple[str, ...] | None = None
    response: tuple[str, ...] | None = None
    ceiling: str | None = None


@dataclass(frozen=True)
class Responses:
    """Responses to texts.

    Parameters
    ----------
    texts
        The stimuli.
    ids
        Where each comes from.
    groups
        The passage of each; None where that is not known.
    names
        What the responses are called: subjects, regions, voxels.
    values
        ``(stimulus, response)``; nan where a response is missing.
    ceilings
        Noise ceiling of every response; nan where it has none; None: there are none.
    """

    texts: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    names: tuple[str, ...]
    values: Float64[np.ndarray, "stimulus response"]
    ceilings: Float64[np.ndarray, " response"] | None = None

    def only(self, rows: Sequence[int]) -> "Responses":
        """Return the responses to some stimuli.

        Parameters
        ----------
        rows
            Their numbers, in the order that they shall have.
        """
        groups = self.groups and tuple(self.groups[row] for row in rows)
        texts = tuple(self.texts[row] for row in rows)
        ids = tuple(self.ids[row] for row in rows)
        values = self.values[np.array(rows, dtype=np.int64)]
        return Responses(texts, ids, groups, self.names, values, self.ceilings)

    def in_order(self) -> "Responses":
        """Return the same, passage by passage and text by text, where passages are known.

        So the order of the rows of a file does not matter. Without passages it does: it is all
        that is known of which stimuli belong together.
        """
        if self.groups is None:
            return self
        rows = range(len(self.texts))
        return self.only(sorted(rows, key=lambda row: ((self.groups or ())[row], self.texts[row])))


def read_table(path: Path, columns: Columns) -> Responses:
    """Return the responses of a csv, tsv, jsonl or parquet file.

    Each row holds responses to one text. In a wide table a row is a text and each response has
    its column; in a long one a row is one response, of the subject or region that it names.

    Parameters
    ----------
    path
        The file.
    columns
        What its columns are called.

    Raises
    ------
    TaskError
        If a column is not there, a cell is no number, a response appears twice, or a text belongs
        to two passages; names file and line.
    ContrastError
        If it is no such file.
    """
    rows = read(path)
    known = list(dict.fromkeys(column for row in rows for column in row.fields))
    columns = _complete(columns, known, path)
    texts: dict[str, tuple[int, Record]] = {}
    values: dict[tuple[int, str], tuple[float, str]] = {}
    ceilings: dict[str, float] = {}
    for row in rows:
        text = _cell(row, columns.stimulus)
        if not text:
            raise TaskError(f"{row.id}: no text in {columns.stimulus!r}; fill it, or drop the row")
        number, first = texts.setdefault(text, (len(texts), row))
        _same_group(first, row, columns.group)
        for name, value in _responses_of(row, columns):
            former = values.setdefault((number, name), (value, row.id))
            if former[1] != row.id:
                raise TaskError(
                    f"{row.id}: a second response of {name!r} to a text of {former[1]}; average "
                    "repetitions, or name the columns that tell them apart with `response:`"
                )
            if columns.ceiling:
                ceilings[name] = _same_ceiling(row, columns.ceiling, ceilings.get(name), name)
    return _made(texts, values, ceilings, columns)


def _complete(columns: Columns, known: Sequence[str], path: Path) -> Columns:
    """Return the columns with every default resolved, refused where one is not there."""
    group = columns.group or (PASSAGE if PASSAGE in known else None)
    response = columns.response
    if response is None:
        response = tuple(column for column in OF_WHOM if column in known)
    taken = {columns.stimulus, group, columns.ceiling, *response}
    value = columns.value
    if value is None:
        others = tuple(column for column in known if column not in taken and column)
        value = (VALUE,) if VALUE in known else others
    named = [columns.stimulus, group, columns.ceiling, *response, *value]
    for column in named:
        if column is not None and column not in known:
            raise TaskError(
                f"{path}: no column {column!r}; {nearest(column, known)}there are: "
                f"{', '.join(filter(None, known))}; name yours with `stimulus:`, `value:`, `group:`"
            )
    if not value:
        raise TaskError(
            f"{path}: no column of responses beside {', '.join(filter(None, known))}; add one with "
            "a number per text, e.g. 'value'"
        )
    return Columns(columns.stimulus, group, value, response, columns.ceiling)


def _cell(row: Record, column: str) -> str:
    return row.fields.get(column, "").strip()


def _responses_of(row: Record, columns: Columns) -> Iterator[tuple[str, float]]:
    """Yield the name and the value of every response in a row."""
    of = [_cell(row, column) for column in columns.response or ()]
    several = len(columns.value or ()) > 1
    for column in columns.value or ():
        parts = [*of, column] if several or not of else of
        yield "/".join(parts), number_in(row, column)


def number_in(row: Record, column: str) -> float:
    """Return the number in a cell, nan where it is missing.

    Parameters
    ----------
    row
        The row.
    column
        The column.

    Raises
    ------
    TaskError
        If it holds anything else; names file and line.
    """
    text = _cell(row, column)
    if text.lower() in _MISSING:
        return nan
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise TaskError(
            f"{row.id}: {text[:40]!r} in column {column!r} is no finite number; leave the cell "
            "empty where a response is missing, or name the columns of responses with `value:`"
        )
    return number


def _same_group(first: Record, row: Record, column: str | None) -> None:
    if column is None:
        return
    group, former = _cell(row, column), _cell(first, column)
    if not group:
        raise TaskError(f"{row.id}: no passage in {column!r}; fill it for every row, or for none")
    if group != former:
        raise TaskError(
            f"{row.id}: the text of {first.id} again, in {column} {group!r} instead of "
            f"{former!r}; a fold would be tested on a text it was fitted to: give both one "
            f"{column}, or drop one"
        )


def _same_ceiling(row: Record, column: str, former: float | None, name: str) -> float:
    ceiling = checked_ceiling(number_in(row, column), f"{row.id}: column {column!r}")
    if former is not None and ceiling != former and not (np.isnan(ceiling) and np.isnan(former)):
        raise TaskError(
            f"{row.id}: a ceiling of {ceiling:g} for {name!r}, which had {former:g} above; a "
            "response has one ceiling"
        )
    return ceiling


def checked_ceiling(ceiling: float, place: str) -> float:
    """Return a noise ceiling, refused where it is none.

    Parameters
    ----------
    ceiling
        A correlation; nan where there is none.
    place
        Where it stands, for the message.

    Raises
    ------
    TaskError
        If it is not above 0 and at most 1.
    """
    if not np.isnan(ceiling) and not 0 < ceiling <= 1:
        raise TaskError(
            f"{place}: {ceiling:g} is no noise ceiling; it is a correlation above 0 and at most 1"
        )
    return ceiling


def _made(
    texts: Mapping[str, tuple[int, Record]],
    values: Mapping[tuple[int, str], tuple[float, str]],
    ceilings: Mapping[str, float],
    columns: Columns,
) -> Responses:
    names = tuple(sorted({name for _, name in values}))
    places = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(texts), len(names)), nan)
    for (row, name), (value, _) in values.items():
        matrix[row, places[name]] = value
    first = [record for _, record in texts.values()]
    group = columns.group
    return Responses(
        tuple(texts),
        tuple(record.id for record in first),
        tuple(_cell(record, group) for record in first) if group else None,
        names,
        matrix,
        np.array([ceilings[name] for name in names]) if columns.ceiling else None,
    )
