"""Run a sweep into its folder: cells that are current are reused, a failed one stops no other."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from deeploc import atomic
from deeploc.entry_points import given_files
from deeploc.progress import OnProgress, ProgressReporter, SilentReporter, tell
from deeploc.runs.lock import locked
from deeploc.sweep.cells import Cell, groups_of
from deeploc.sweep.file import Sweep
from deeploc.sweep.page import render
from deeploc.sweep.record import NAME, SweepRecord, is_sweep, read_record
from deeploc.sweep.summary import line_of, title_of
from deeploc.sweep.table import rows_of, to_csv
from deeploc.sweep.work import CellResult, Event, OnEvent, Started, Work

FILES = (NAME, "sweep.csv", "sweep.html", "sweep.log")
"""What a sweep writes beside the folders of its cells."""

_PAGE_EVERY = 60.0
"""Seconds between two versions of the page while the sweep runs."""


@runtime_checkable
class Engine(Protocol):
    """Runs cells somewhere."""

    def run(self, parts: Sequence[Work], on_event: OnEvent) -> None:
        """Run all cells, and tell when each begins and what became of it.

        Parameters
        ----------
        parts
            The cells, by model.
        on_event
            Told about every cell, in this process.
        """
        ...


def run_sweep(
    sweep: Sweep,
    cells: Sequence[Cell],
    folder: Path,
    engine: Engine,
    reporter: ProgressReporter | None = None,
    *,
    overwrite: bool = False,
) -> SweepRecord:
    """Run every cell that is not there and current; return what became of each.

    Parameters
    ----------
    sweep
        The sweep.
    cells
        Its cells.
    folder
        Its folder, in which each cell has its run folder; made if it does not exist.
    engine
        What runs them.
    reporter
        Who receives a line per finished cell, and progress; default nobody.
    overwrite
        Whether a run with other inputs in the folder of a cell is replaced.

    Raises
    ------
    RunError
        If the folder cannot be written, holds other files, or another process writes there.
    SweepError
        If the workers cannot be started.
    """
    plugins = tuple(file.path for file in given_files())
    parts = [Work(group.cells, plugins, overwrite) for group in groups_of(cells)]
    with locked(folder, create=True, files=FILES, marker=NAME):
        state = _State(_resumed(sweep, folder, cells), reporter or SilentReporter())
        try:
            with state.reporter.progress("cells", len(cells)) as on_progress:
                engine.run(parts, lambda event: state.take(event, on_progress))
        finally:
            write_tables(state.record)
    return state.record


def report_sweep(folder: Path) -> SweepRecord:
    """Write sweep.csv and sweep.html of a folder anew, without running anything.

    Parameters
    ----------
    folder
        The folder of a sweep.

    Raises
    ------
    RunError
        If it is no such folder, or its record is damaged.
    """
    record = read_record(folder)
    with locked(folder, files=FILES, marker=NAME):
        write_tables(record)
    return record


def write_tables(record: SweepRecord) -> None:
    """Write sweep.json, sweep.csv and sweep.html.

    Parameters
    ----------
    record
        The sweep.
    """
    rows = rows_of(record)
    record.write()
    atomic.write(record.folder / "sweep.csv", to_csv(record, rows))
    atomic.write(record.folder / "sweep.html", render(record, rows))


class _State:
    """What is known while a sweep runs."""

    def __init__(self, record: SweepRecord, reporter: ProgressReporter) -> None:
        self.record, self.reporter = record, reporter
        self._running: dict[int, None] = {}
        self._written = time.monotonic()
        record.write()

    def take(self, event: Event, on_progress: OnProgress) -> None:
        """Record an event, and report it."""
        if isinstance(event, Started):
            self._running[event.number] = None
        elif isinstance(event, CellResult):
            self._finish(event)
        tell(self.reporter, ", ".join(title_of(self.record.cells[n]) for n in self._running))
        on_progress(int(isinstance(event, CellResult)))
        if time.monotonic() - self._written > _PAGE_EVERY:
            write_tables(self.record)
            self._written = time.monotonic()

    def _finish(self, result: CellResult) -> None:
        self._running.pop(result.number, None)
        self.record = self.record.with_result(result)
        self._log(result)
        self.record.write()
        self.reporter.note(line_of(self.record, result.number))

    def _log(self, result: CellResult) -> None:
        """Keep where a bug was met: the line of a failed cell has no room for it."""
        if result.trace:
            cell = self.record.cells[result.number]
            with (self.record.folder / "sweep.log").open("a", encoding="utf-8") as log:
                log.write(f"{cell.command}\n{result.trace}\n")


def _resumed(sweep: Sweep, folder: Path, cells: Sequence[Cell]) -> SweepRecord:
    """Return the record of a sweep, with what the folder knows of the same cells."""
    record = SweepRecord.of(sweep, folder, cells)
    if not is_sweep(folder):
        return record
    before: Mapping[str, CellResult] = {
        cell.command: CellResult(0, cell.status, cell.seconds, cell.error)
        for cell in read_record(folder).cells
    }
    for cell in cells:
        if known := before.get(cell.setup.command):
            known = CellResult(cell.number, known.status, known.seconds, known.error)
            record = record.with_result(known)
    return record
