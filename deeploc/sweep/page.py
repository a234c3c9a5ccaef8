"""sweep.html: the verdicts of a sweep as a grid, each linking its report.

This module collects values; every word and tag of the page is in ``sweep.html.jinja``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deeploc.contrast.source_fields import as_text
from deeploc.report.compared_verdicts import p_text
from deeploc.report.page import template
from deeploc.report.text import format_number
from deeploc.report.verdict_text import without_massive_alone
from deeploc.sweep.record import SweepRecord
from deeploc.sweep.summary import options_of
from deeploc.sweep.table import QUESTIONS, Row

Found = Literal["yes", "part", "no", "unknown", "failed", "waiting"]
"""What a row of the grid says, which also is its colour."""


@dataclass(frozen=True)
class Entry:
    """What the grid says of one cell at one kind of site.

    Parameters
    ----------
    row
        The cell.
    found
        Whether a network was found there.
    word
        The same in a word or two.
    about
        What tells it from the other entries beside it: seed and options.
    """

    row: Row
    found: Found
    word: str
    about: str


_WORDS: dict[Found, str] = {
    "yes": "causal, specific",
    "part": "causal",
    "no": "no network",
    "unknown": "not tested",
    "failed": "failed",
    "waiting": "not run",
}


def render(record: SweepRecord, rows: Sequence[Row]) -> str:
    """Return sweep.html; the same folder gives the same bytes.

    Parameters
    ----------
    record
        The sweep.
    rows
        Its rows, of `deeploc.sweep.table.rows_of`.
    """
    contrasts = list(dict.fromkeys(cell.contrast for cell in record.cells))
    models = list(dict.fromkeys(cell.model for cell in record.cells))
    entries = [_entry(record, row) for row in rows]
    counts = {found: sum(e.found == found for e in entries) for found in _WORDS}
    return template("sweep.html.jinja").render(
        record=record,
        contrasts=contrasts,
        grid={m: [_at(entries, m, contrast) for contrast in contrasts] for m in models},
        entries=entries,
        counts={found: n for found, n in counts.items() if n},
        words=_WORDS,
        failed=[cell for cell in record.cells if cell.status == "failed"],
        questions=QUESTIONS,
        answer=_answer,
        d=_d,
        options=list(dict.fromkeys(key for cell in record.cells for key in cell.options)),
        plain=as_text,
    )


def found_in(row: Row) -> Found:
    """Return whether a network was found: ``yes`` causal and specific, ``part`` only causal.

    Damage that is only that of massive activations finds none, as in the report of a run.

    Parameters
    ----------
    row
        A cell at one kind of site.
    """
    if row.cell.status == "failed":
        return "failed"
    if row.cell.status == "waiting":
        return "waiting"
    if row.network is None:
        return "unknown"
    alone = without_massive_alone(row.network)
    if row.network.answer("causal") == "yes" and alone is not False:
        return "yes" if row.network.answer("specific") == "yes" else "part"
    is_tested = row.reply("causal") or row.network.answer("selective") == "no"
    return "no" if is_tested or not row.network.n_ablated else "unknown"


def _entry(record: SweepRecord, row: Row) -> Entry:
    found = found_in(row)
    seeds = {cell.seed for cell in record.cells}
    about = [f"seed {row.cell.seed}"] if len(seeds) > 1 else []
    return Entry(row, found, _WORDS[found], " · ".join([*about, *options_of(row.cell)]))


def _at(entries: Sequence[Entry], model: str, contrast: str) -> list[Entry]:
    return [e for e in entries if (e.row.cell.model, e.row.cell.contrast) == (model, contrast)]


def _answer(row: Row, question: str) -> tuple[str, str]:
    """Return the answer to a question and its p value, for a cell of the table."""
    reply = row.reply(question)
    if reply is None:
        return "\N{EN DASH}", ""
    return reply.answer, "" if reply.p is None else p_text(reply.p)


def _d(row: Row) -> str:
    d = row.preference.d if row.preference else None
    return "\N{EN DASH}" if d is None or d != d else format_number(d)
