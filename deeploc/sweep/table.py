"""sweep.csv: a row for each cell and kind of site, with its verdict."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deeploc.contrast.source_fields import as_text
from deeploc.core.responses import Preference
from deeploc.core.verdict import Network, Reply
from deeploc.errors import RunError
from deeploc.report.nothing_selected import without_units
from deeploc.report.verdict_text import conclusion
from deeploc.runs.folder import RunFolder
from deeploc.sweep.record import CellRecord, SweepRecord

QUESTIONS = ("selective", "reliable", "causal", "specific", "robust", "trained")
"""The questions of a verdict that have columns."""


@dataclass(frozen=True)
class Row:
    """A cell at one kind of site; ``network`` is None where the cell has no verdict there.

    Parameters
    ----------
    cell
        The cell.
    sites
        The kind of site; empty where nothing is known.
    network
        The answers.
    preference
        The contrast tested on the selected units, on held-out stimuli if there are any.
    sentence
        The answers in one sentence, or why there are none.
    """

    cell: CellRecord
    sites: str = ""
    network: Network | None = None
    preference: Preference | None = None
    sentence: str = ""

    def reply(self, question: str) -> Reply | None:
        """Return the reply to a question that was asked, None where it was not.

        Parameters
        ----------
        question
            Its name.
        """
        reply = self.network.reply(question) if self.network else None
        return None if reply is None or reply.answer == "not asked" else reply


def rows_of(record: SweepRecord) -> list[Row]:
    """Return the rows of a sweep, read from the run folders of its cells.

    Parameters
    ----------
    record
        The sweep; a cell whose folder cannot be read counts as failed.
    """
    return [row for cell in record.cells for row in _rows(record, cell)]


def to_csv(record: SweepRecord, rows: list[Row]) -> str:
    """Return sweep.csv.

    Parameters
    ----------
    record
        The sweep.
    rows
        Its rows.
    """
    text, lines = io.StringIO(), to_json(record, rows)
    table = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def to_json(record: SweepRecord, rows: list[Row]) -> list[dict[str, Any]]:
    """Return the same as JSON: each row with the values of sweep.csv.

    Parameters
    ----------
    record
        The sweep.
    rows
        Its rows.
    """
    keys = _option_keys(record)
    return [dict(_fields(row, keys)) for row in rows]


def _option_keys(record: SweepRecord) -> list[str]:
    return list(dict.fromkeys(key for cell in record.cells for key in cell.options))


def _rows(record: SweepRecord, cell: CellRecord) -> Iterator[Row]:
    if cell.status in ("failed", "waiting"):
        yield Row(cell, sentence=cell.error or "Not run yet.")
        return
    run = RunFolder(record.folder / cell.folder)
    try:
        verdict, profile, empty = run.read_verdict(), run.read_profile(), without_units(run)
    except RunError as error:
        lost = cell.model_copy(update={"status": "failed", "error": str(error)})
        yield Row(lost, sentence=str(error))
        return
    if verdict is None or not verdict.networks:
        yield Row(cell, sentence="No verdict: the contrast names no task.")
        return
    for network in verdict.networks:
        test = profile.preference(network.sites, "selected") if profile else None
        why = empty.get(network.sites, "no unit was selected")
        yield Row(cell, network.sites, network, test, conclusion(network, why))


def _fields(row: Row, keys: list[str]) -> Iterator[tuple[str, Any]]:
    cell, network = row.cell, row.network
    yield from (("model", cell.model), ("contrast", cell.contrast), ("seed", cell.seed))
    for key in keys:
        yield key, as_text(cell.options.get(key))
    yield from (("sites", row.sites), ("status", cell.status))
    yield "units", network.n_units if network else ""
    yield "ablated", network.n_ablated if network else ""
    for question in QUESTIONS:
        reply = row.reply(question)
        yield question, reply.answer if reply else ""
        if question in ("selective", "causal", "specific"):
            yield f"{question} p", _number(reply.p if reply else None)
    yield "d", _number(row.preference.d if row.preference else None)
    yield "verdict", row.sentence if network else ""
    yield from (("folder", cell.folder), ("seconds", cell.seconds), ("error", cell.error))
    yield "command", cell.command


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}"
