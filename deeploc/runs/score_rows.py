"""Rows of a table of scores, and which of them are current."""

from collections.abc import Iterable
from pathlib import Path

from deeploc.core.results import Score, from_csv
from deeploc.errors import RunError
from deeploc.runs.records import EvaluateRecord


def read_rows(file: Path) -> list[Score]:
    """Return every row of a table of scores, current or not; none where there is no file.

    Raises
    ------
    RunError
        If it is no such table.
    """
    try:
        return from_csv(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is broken: {error}; delete it and evaluate again") from error


def current_rows(record: EvaluateRecord, rows: Iterable[Score]) -> list[Score]:
    """Return the scores of the tasks and ablations that an evaluation recorded.

    Parameters
    ----------
    record
        What it recorded.
    rows
        Scores, current or not.
    """
    keys = {name: task.key for name, task in record.tasks.items()}
    cells = {(c.sites, c.mode, c.percent, c.mask, c.control_of, c.key) for c in record.cells}
    return [r for r in rows if keys.get(r.task) == r.task_key and _cell_of(r) in cells]


def _cell_of(row: Score) -> tuple[str, str, float, str, str, str]:
    return row.sites, row.mode, row.percent, row.mask, row.control_of, row.key
