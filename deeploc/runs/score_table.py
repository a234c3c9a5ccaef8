"""The scores of a run folder while it is evaluated: what is known, what is new, and saving both."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deeploc import atomic
from deeploc.core.results import Score, to_csv
from deeploc.core.units import UnitMask
from deeploc.errors import RunError
from deeploc.runs.control_masks import ControlMasks, load_controls
from deeploc.runs.folder import RunFolder
from deeploc.runs.records import CellRecord, TaskRecord
from deeploc.runs.saving import Content, Save
from deeploc.runs.score_rows import current_rows, read_rows

_SAVE_EVERY = 2.0
"""Seconds between two savings of scores.csv: the most work that a killed run can lose."""


@dataclass
class ScoreTable:
    """The scores of a run folder while it is evaluated.

    ``earlier`` are the rows of former evaluations that are still current, ``known`` these and the
    superseded ones: every score that need not be measured again.

    Parameters
    ----------
    tasks
        Every task whose scores are current.
    notices
        What the evaluation had to leave out, and why.
    earlier, known
        Rows, see above.
    measured
        The rows of this evaluation.
    """

    tasks: Mapping[str, TaskRecord]
    notices: Sequence[str]
    earlier: Sequence[Score]
    known: Sequence[Score]
    measured: list[Score] = field(default_factory=list)

    @classmethod
    def of(
        cls, folder: RunFolder, tasks: Mapping[str, TaskRecord], notices: Sequence[str]
    ) -> "ScoreTable":
        """Return the table of a run folder before anything is measured.

        Parameters
        ----------
        folder
            The run folder.
        tasks
            The tasks of this evaluation.
        notices
            What it had to leave out, and why.
        """
        record = folder.read_manifest().evaluate
        every = {**(record.tasks if record else {}), **tasks}
        keys = {name: task.key for name, task in every.items()}
        rows = current_rows(record, read_rows(folder.scores)) if record else []
        earlier = [row for row in rows if keys.get(row.task) == row.task_key]
        known = distinct([*earlier, *read_rows(folder.scores), *read_rows(folder.superseded)])
        return cls(every, notices, earlier, known)

    @property
    def current(self) -> list[Score]:
        """The rows of this evaluation, then those of former ones that are still current."""
        measured = {_name(row): row for row in self.measured}
        names = measured.keys()
        return [*measured.values(), *(row for row in self.earlier if _name(row) not in names)]

    def superseded(self, current: Iterable[Score]) -> list[Score]:
        """Return the known scores that are not current.

        Parameters
        ----------
        current
            Those that are.
        """
        identities = {_identity(row) for row in current}
        return [row for row in self.known if _identity(row) not in identities]

    def results(self, current: Iterable[Score]) -> dict[str, Any]:
        """Return what the manifest records.

        Parameters
        ----------
        current
            The scores that are current.
        """
        cells = {_cell(row): None for row in current}
        return {
            "tasks": {name: task.model_dump(mode="json") for name, task in self.tasks.items()},
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "notices": list(self.notices),
        }


class ScoreSaving:
    """Saves the scores now and then, and when the work ends, however it ends.

    Parameters
    ----------
    folder
        The run folder.
    table
        Its scores.
    save
        Writes files and results of the stage.
    controls
        The units of the controls.
    """

    def __init__(
        self, folder: RunFolder, table: ScoreTable, save: Save, controls: ControlMasks
    ) -> None:
        self._folder = folder
        self._table = table
        self._save = save
        self._controls = controls
        self._saved = time.monotonic()

    @property
    def known(self) -> Sequence[Score]:
        """Every score that need not be measured again."""
        return self._table.known

    def add(self, scores: list[Score], mask: UnitMask | None) -> None:
        """Take the scores of an ablation, or of units that were read.

        Parameters
        ----------
        scores
            Its scores.
        mask
            The units; None is the intact model.
        """
        self._table.measured += scores
        if scores and mask is not None:
            self._controls.add(scores[0], mask)
        if scores and time.monotonic() - self._saved > _SAVE_EVERY:
            self.save(complete=False)

    def save(self, *, complete: bool) -> None:
        """Write scores.csv, then what is superseded: no score is in neither of them.

        Parameters
        ----------
        complete
            Whether nothing is left to measure; the units of the controls are written then.
        """
        current = self._table.current
        superseded = self._table.superseded(current)
        if superseded:
            atomic.write(self._folder.superseded, to_csv(superseded))
        results = self._table.results(current)
        files: dict[str, Content] = {"scores.csv": to_csv(current)}
        if complete:
            with suppress(RunError):  # a broken file of an earlier evaluation is replaced
                self._controls.keep(load_controls(self._folder.controls), current)
            files["controls.safetensors"] = self._controls.parts()
        self._save(files, results, complete=complete)
        if not superseded:
            self._folder.superseded.unlink(missing_ok=True)
        self._saved = time.monotonic()


def _cell(row: Score) -> CellRecord:
    return CellRecord(
        sites=row.sites,
        mode=row.mode,
        percent=row.percent,
        mask=row.mask,
        control_of=row.control_of,
        key=row.key,
    )


def _name(row: Score) -> tuple[Any, ...]:
    """Return what a row is about, by name."""
    place = (row.sites, row.mode, row.percent, row.mask, row.control_of)
    return (row.task, row.metric, row.condition, *place)


def _identity(row: Score) -> tuple[str, ...]:
    """Return what was measured under which ablation, whatever it is called."""
    return (row.task, row.metric, row.condition, row.task_key, row.key)


def distinct(rows: Iterable[Score]) -> list[Score]:
    """Return rows without those that repeat a measurement.

    Parameters
    ----------
    rows
        Scores.
    """
    return list({_identity(row): row for row in rows}.values())
