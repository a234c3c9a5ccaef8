"""The stage that measures tasks, intact, ablated and under controls."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any, ClassVar

from deeploc import atomic
from deeploc.analysis.deciding import deciding_of, draw_controls
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.permuting import permuted_t
from deeploc.analysis.planning import Plan, deciding_doses, plan
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.unit_evaluation import UnitEvaluator, masks_of
from deeploc.contrast.fields import Ablate
from deeploc.contrast.model import Contrast
from deeploc.core.ablation import Edit
from deeploc.core.controls import PermutedT
from deeploc.core.effects import MIN_CONTROLS
from deeploc.core.judging import selective_p
from deeploc.core.massive import massive_selection
from deeploc.core.readout import Readout
from deeploc.core.results import Cell, Score, to_csv
from deeploc.core.stats import ALPHA, Vector
from deeploc.core.task import HasChance, Task
from deeploc.core.unit_task import AnyTask, UnitTask, notices_of, split_tasks
from deeploc.progress import tell
from deeploc.runs.cell_text import cell_text
from deeploc.runs.control_masks import ControlMasks
from deeploc.runs.folder import RunFolder
from deeploc.runs.keys import json_hash
from deeploc.runs.records import TaskRecord
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.score_rows import read_rows
from deeploc.runs.score_table import ScoreSaving, ScoreTable, distinct
from deeploc.runs.stages import remove
from deeploc.runs.used_plugins import adapter_of, identities, identity_of


@dataclass(frozen=True)
class EvaluateStage:
    """Measures tasks on the intact model, under the ablations and under their controls.

    Tasks on units are measured on the activations of the same masks in the intact model.

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

    tasks: Sequence[AnyTask]
    ablate: Ablate
    contrast: Contrast

    name: ClassVar[str] = "evaluate"
    files: ClassVar[tuple[str, ...]] = ("scores.csv", "controls.safetensors")
    needs: ClassVar[tuple[str, ...]] = (
        "localize",
        "ranking",
        "select",
        "profile",
        "reliability",
        "massive",
        "positions",
    )
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the tasks with what decides their numbers, the ablations, and the seed."""
        controls = identities("deeploc.controls", self.ablate.controls.of_plugins)
        return {
            **({"control plugins": controls} if controls else {}),
            "tasks": task_keys(run, self.tasks),
            "ablate": self.ablate.model_dump(mode="json", by_alias=True),
            "verdict": self.contrast.verdict.model_dump(mode="json", exclude={"untrained"}),
            "seed": run.setup.seed,
        }

    def make(self, run: Run, save: Save) -> None:
        """Measure what is not known yet; what is measured is saved every two seconds."""
        todo = self._plan(run, self.ablate)
        notices = (*todo.notices, *notices_of(self.tasks))
        for notice in notices:
            run.reporter.note(notice)
        keys = task_keys(run, self.tasks)
        table = ScoreTable.of(run.folder, self._records(keys), notices)
        saving = ScoreSaving(run.folder, table, save, ControlMasks(run.layout))
        lesions, on_units = split_tasks(self.tasks)
        try:
            if lesions or not on_units:
                self._ablate(run, todo, lesions, keys, saving)
            if on_units:
                self._read_units(run, on_units, keys, saving)
        except BaseException:
            if table.measured:
                saving.save(complete=False)
            raise
        saving.save(complete=True)

    def _ablate(
        self,
        run: Run,
        todo: Plan,
        tasks: Sequence[Task],
        keys: Mapping[str, str],
        saving: ScoreSaving,
    ) -> None:
        """Measure tasks on the intact model and under every ablation of the plan."""
        evaluator = Evaluator(
            run.adapter,
            tasks,
            seed=run.setup.seed,
            task_keys=keys,
            known=saving.known,
            recall=run.readings.recall,
        )
        with run.reporter.progress("evaluating", len(todo.cells)) as on_progress:
            cells, n_random = iter(todo.cells), self.ablate.controls.random
            for cell, ablation in todo.cells.items():
                self._tell_next(run, cells, n_random)
                mask = None if ablation is None else ablation.mask
                saving.add(evaluator.scores(cell, ablation), mask)
                on_progress(1)
        self._decide(run, evaluator, saving)

    def _read_units(
        self, run: Run, tasks: Sequence[UnitTask], keys: Mapping[str, str], saving: ScoreSaving
    ) -> None:
        """Measure tasks on the units of every mask of the plan, whatever the mode."""
        todo = self._plan(run, self.ablate.model_copy(update={"mode": ("zero",)}))
        seed, known = run.setup.seed, saving.known
        evaluator = UnitEvaluator(
            run.adapter, tasks, run.layout, seed=seed, task_keys=keys, known=known
        )
        with run.reporter.progress("reading units", len(todo.cells) - 1) as on_progress:
            for cell, mask in masks_of(todo.cells, run.layout):
                saving.add(evaluator.scores(cell, mask), mask)
                on_progress(1)

    def _decide(self, run: Run, evaluator: Evaluator, saving: ScoreSaving) -> None:
        """Measure what the verdict needs beyond the plan: further controls of one ablation.

        A contrast that asks for too few controls to test anything wants no such test.
        """
        most = self.contrast.verdict.controls
        better = {task.name: task.metrics for task in evaluator.tasks}
        if min(most, self.ablate.controls.random) < MIN_CONTROLS or not better:
            return
        contrast = self.contrast.without_tasks([task.name for task in split_tasks(self.tasks)[1]])
        deciding = deciding_of(contrast, evaluator.scores(Cell(), None), better)
        if deciding is None:
            return
        every = deciding_doses(
            run.stat_map,
            run.mask,
            self.contrast.ablate,
            self.contrast.verdict.dose,
            run.setup.seed,
            modes=run.modes,
            massive=massive_selection(run.folder.read_massive(), run.layout),
        )
        is_asked = run.contrast.select.by != "contrast"  # whether they are selective or not
        doses = [
            dose for dose in every if is_asked or _may_be_selective(run.folder, dose.cell.sites)
        ]
        with run.reporter.progress("deciding", len(doses) * (1 + most)) as on_progress:
            for dose in doses:
                first = (dose.cell, dose.without_massive)
                cells = iter((*filter(None, first), *map(dose.control, range(most))))
                tell_next = partial(self._tell_next, run, cells, most)
                tell_next()

                def on_scores(
                    scores: list[Score], ablation: Edit, then: Callable[[], None] = tell_next
                ) -> None:
                    saving.add(scores, ablation.mask)
                    on_progress(1)
                    then()

                draw_controls(evaluator, dose, deciding, better, most=most, on_scores=on_scores)

    def _tell_next(self, run: Run, cells: Iterator[Cell], n_random: int) -> None:
        for cell in islice(cells, 1):
            tell(
                run.reporter,
                cell_text(cell, [task.name for task in split_tasks(self.tasks)[0]], n_random),
            )

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Move the scores to scores-superseded.csv: what was measured is not deleted."""
        rows = [*read_rows(folder.superseded), *read_rows(folder.scores)]
        if rows:
            atomic.write(folder.superseded, to_csv(distinct(rows)))
        remove(folder, EvaluateStage.files)

    def _plan(self, run: Run, ablate: Ablate) -> Plan:
        try:
            permuted, seed = self._permuted_t(run), run.setup.seed
            return plan(run.stat_map, run.mask, ablate, seed, permuted, modes=run.modes)
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

    def _records(self, keys: Mapping[str, str]) -> dict[str, TaskRecord]:
        return {
            task.name: TaskRecord(
                metrics=dict(task.metrics),
                chance=dict(task.chance) if isinstance(task, HasChance) else {},
                items=dict(task.identity),
                key=keys[task.name],
                on_units=isinstance(task, UnitTask),
            )
            for task in self.tasks
        }


def task_keys(run: Run, tasks: Sequence[AnyTask]) -> dict[str, str]:
    """Return task -> hash of what decides its numbers: the model, its items and options, the seed.

    Parameters
    ----------
    run
        The run, with its model.
    tasks
        The tasks.
    """
    model = {key: value for key, value in run.adapter.identity.items() if key != "model"}
    algorithm, seed = EvaluateStage.algorithm, run.setup.seed
    adapter = identity_of("deeploc.adapters", adapter_of(run.setup.address))
    of_plugins = identities("deeploc.tasks", [task.name for task in tasks])
    keys = {}
    for task in tasks:
        plugins = [plugin for plugin in (adapter, of_plugins.get(task.name)) if plugin]
        decisive = [algorithm, model, task.name, dict(task.identity), seed, *plugins]
        keys[task.name] = json_hash(decisive)
    return keys


def _may_be_selective(folder: RunFolder, kind: str) -> bool:
    """Return whether units may be selective: of others the damage is not asked."""
    profile, reliability = folder.read_profile(), folder.read_reliability()
    fresh = profile.preference(kind, "selected") if profile and profile.held_out else None
    p = selective_p(fresh, reliability.of(kind) if reliability else None)
    return p is None or p <= ALPHA
