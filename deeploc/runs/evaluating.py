"""The stage that measures tasks, intact, ablated and under controls."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from deeploc import atomic
from deeploc.analysis.deciding import deciding_of, draw_controls
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.permuting import permuted_t
from deeploc.analysis.planning import Plan, deciding_doses, plan
from deeploc.analysis.reading import ByCondition
from deeploc.contrast.fields import Ablate
from deeploc.contrast.model import Contrast
from deeploc.core.controls import PermutedT
from deeploc.core.effects import MIN_CONTROLS
from deeploc.core.readout import Readout
from deeploc.core.results import Cell, Score, to_csv
from deeploc.core.stats import Vector
from deeploc.core.task import Task
from deeploc.runs.folder import RunFolder, current_rows, read_rows
from deeploc.runs.keys import json_hash
from deeploc.runs.records import CellRecord, TaskRecord
from deeploc.runs.run import Run
from deeploc.runs.saving import Save

_SAVE_EVERY = 2.0
"""Seconds between two savings of scores.csv: the most work that a killed run can lose."""


@dataclass(frozen=True)
class EvaluateStage:
    """Measures tasks on the intact model, under the ablations and under their controls.

    Scores are added to those that are there. Those whose task, units, mode or model are no longer
    the same are moved to scores-superseded.csv: they are never shown, and used again if what they
    belong to comes back.

    Parameters
    ----------
    tasks
        What is measured.
    ablate
        Modes, doses and controls.
    contrast
        Whose ``verdict`` decides how many controls the deciding ablation needs; that of the run.
    """

    tasks: Sequence[Task]
    ablate: Ablate
    contrast: Contrast

    name: ClassVar[str] = "evaluate"
    files: ClassVar[tuple[str, ...]] = ("scores.csv",)
    needs: ClassVar[tuple[str, ...]] = ("localize", "select")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the tasks with what decides their numbers, the ablations, and the seed."""
        return {
            "tasks": self._task_keys(run),
            "ablate": self.ablate.model_dump(mode="json", by_alias=True),
            "verdict": self.contrast.verdict.model_dump(mode="json"),
            "seed": run.setup.seed,
        }

    def make(self, run: Run, save: Save) -> None:
        """Measure what is not known yet; what is measured is saved every two seconds."""
        todo = self._plan(run)
        for notice in todo.notices:
            run.reporter.note(notice)
        keys = self._task_keys(run)
        table = _ScoreTable.of(run.folder, self._records(keys), todo.notices)
        saving = _Saving(run.folder, table, save)
        evaluator = Evaluator(
            run.adapter,
            self.tasks,
            seed=run.setup.seed,
            task_keys=keys,
            known=table.known,
            recall=run.readings.recall,
        )
        try:
            with run.reporter.progress("evaluating", len(todo.cells)) as on_progress:
                for cell, ablation in todo.cells.items():
                    saving.add(evaluator.scores(cell, ablation))
                    on_progress(1)
            self._decide(run, evaluator, saving)
        except BaseException:
            if table.measured:
                saving.save(complete=False)
            raise
        saving.save(complete=True)

    def _decide(self, run: Run, evaluator: Evaluator, saving: "_Saving") -> None:
        """Measure what the verdict needs beyond the plan: further controls of one ablation.

        A contrast that asks for too few controls to test anything wants no such test.
        """
        most = self.contrast.verdict.controls
        better = {task.name: task.metrics for task in self.tasks}
        if min(most, self.ablate.controls.random) < MIN_CONTROLS or not self.tasks:
            return
        deciding = deciding_of(self.contrast, evaluator.scores(Cell(), None), better)
        if deciding is None:
            return
        doses = deciding_doses(
            run.stat_map,
            run.mask,
            self.contrast.ablate,
            self.contrast.verdict.dose,
            run.setup.seed,
        )
        with run.reporter.progress("deciding", len(doses) * (1 + most)) as on_progress:
            for dose in doses:

                def on_scores(scores: list[Score]) -> None:
                    saving.add(scores)
                    on_progress(1)

                draw_controls(evaluator, dose, deciding, better, most=most, on_scores=on_scores)

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Move the scores to scores-superseded.csv: what was measured is not deleted."""
        rows = [*read_rows(folder.superseded), *read_rows(folder.scores)]
        if rows:
            atomic.write(folder.superseded, to_csv(_distinct(rows)))
        folder.scores.unlink(missing_ok=True)

    def _plan(self, run: Run) -> Plan:
        try:
            return plan(run.stat_map, run.mask, self.ablate, run.setup.seed, self._permuted_t(run))
        except ValueError as error:
            raise run.contrast.error_at(("ablate",), str(error)) from None

    def _permuted_t(self, run: Run) -> PermutedT | None:
        """Return what the control ``shuffled`` selects by, where it is asked for and can be had."""
        if not self.ablate.controls.shuffled:
            return None
        stimuli = run.stimuli.localizing
        groups = ByCondition.of(list(run.contrast.conditions), stimuli)
        readout = Readout.of(run.contrast.read)
        values = run.readings.matrix(groups.stimuli, run.layout, readout)
        if values is None:
            return None
        contrast, seed = run.contrast, run.setup.seed

        @lru_cache(maxsize=1)  # the ablations of one control follow each other
        def permuted(index: int) -> Vector:
            return permuted_t(contrast, stimuli, values, index, seed=seed)

        return permuted

    def _task_keys(self, run: Run) -> dict[str, str]:
        model = {key: value for key, value in run.adapter.identity.items() if key != "model"}
        algorithm, seed = self.algorithm, run.setup.seed
        return {
            task.name: json_hash([algorithm, model, task.name, dict(task.identity), seed])
            for task in self.tasks
        }

    def _records(self, keys: Mapping[str, str]) -> dict[str, TaskRecord]:
        return {
            task.name: TaskRecord(
                metrics=dict(task.metrics), items=dict(task.identity), key=keys[task.name]
            )
            for task in self.tasks
        }


@dataclass
class _ScoreTable:
    """The scores of a run folder while it is evaluated.

    ``earlier`` are the rows of former evaluations that are still current, ``known`` these and the
    superseded ones: every score that need not be measured again.
    """

    tasks: Mapping[str, TaskRecord]
    notices: Sequence[str]
    earlier: Sequence[Score]
    known: Sequence[Score]
    measured: list[Score] = field(default_factory=list)

    @classmethod
    def of(
        cls, folder: RunFolder, tasks: Mapping[str, TaskRecord], notices: Sequence[str]
    ) -> "_ScoreTable":
        record = folder.read_manifest().evaluate
        every = {**(record.tasks if record else {}), **tasks}
        keys = {name: task.key for name, task in every.items()}
        rows = current_rows(record, read_rows(folder.scores)) if record else []
        earlier = [row for row in rows if keys.get(row.task) == row.task_key]
        known = _distinct([*earlier, *read_rows(folder.scores), *read_rows(folder.superseded)])
        return cls(every, notices, earlier, known)

    @property
    def current(self) -> list[Score]:
        """The rows of this evaluation, then those of former ones that are still current."""
        measured = {_name(row): row for row in self.measured}
        names = measured.keys()
        return [*measured.values(), *(row for row in self.earlier if _name(row) not in names)]

    def superseded(self, current: Iterable[Score]) -> list[Score]:
        """Return the known scores that are not current."""
        identities = {_identity(row) for row in current}
        return [row for row in self.known if _identity(row) not in identities]

    def results(self, current: Iterable[Score]) -> dict[str, Any]:
        """Return what the manifest records."""
        cells = {_cell(row): None for row in current}
        return {
            "tasks": {name: task.model_dump(mode="json") for name, task in self.tasks.items()},
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "notices": list(self.notices),
        }


class _Saving:
    """Saves the scores now and then, and when the work ends, however it ends."""

    def __init__(self, folder: RunFolder, table: _ScoreTable, save: Save) -> None:
        self._folder = folder
        self._table = table
        self._save = save
        self._saved = time.monotonic()

    def add(self, scores: list[Score]) -> None:
        """Take the scores of a cell."""
        self._table.measured += scores
        if scores and time.monotonic() - self._saved > _SAVE_EVERY:
            self.save(complete=False)

    def save(self, *, complete: bool) -> None:
        """Write scores.csv, then what is superseded: no score is in neither of them."""
        current = self._table.current
        superseded = self._table.superseded(current)
        if superseded:
            atomic.write(self._folder.superseded, to_csv(superseded))
        results = self._table.results(current)
        self._save({"scores.csv": to_csv(current)}, results, complete=complete)
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


def _distinct(rows: Iterable[Score]) -> list[Score]:
    """Return rows without those that repeat a measurement."""
    return list({_identity(row): row for row in rows}.values())
