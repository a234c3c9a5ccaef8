"""The stage that ranks units by the gradient of a loss, where the statistic does not rank them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from deeploc.analysis.objective import contrast_terms
from deeploc.contrast.selecting import OF_CONTRAST
from deeploc.core.ablation import Ablation
from deeploc.core.attributing import attribute, require_loss
from deeploc.core.attribution import Term
from deeploc.core.json_values import nulled
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.task import Task
from deeploc.core.unit_task import split_tasks
from deeploc.core.units import UnitMask
from deeploc.errors import TaskError
from deeploc.runs.folder import RunFolder
from deeploc.runs.inputs import tasks_of
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.ranking_file import RANKING, ranking_parts
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import Stage, remove


@dataclass(frozen=True)
class RankingStage:
    """Takes the gradient of a loss over the stimuli that localize.

    Parameters
    ----------
    objective
        Whose loss it is.
    """

    objective: "Objective"

    name: ClassVar[str] = "ranking"
    files: ClassVar[tuple[str, ...]] = (RANKING,)
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the model, the stimuli, whose loss it is and where its gradient is taken.

        Attribution and gradient come from the same passes, so that ``by`` is not among them.
        """
        select = run.contrast.select
        way = {"steps": select.steps, "baseline": select.baseline}
        return {**shared_inputs(run), **way, "objective": self.objective.identity}

    def make(self, run: Run, save: Save) -> None:
        """Attribute."""
        terms = self.objective.terms(run)
        with run.reporter.progress("attributing", len(terms)) as on_progress:
            found = attribute(
                run.adapter,
                terms,
                _ablation(run),
                Readout.of(run.contrast.read),
                steps=run.contrast.select.steps,
                on_progress=on_progress,
            )
        results = {"value": found.value, "n_terms": len(terms), "warnings": self._warnings()}
        save({RANKING: ranking_parts(found.by_unit(run.layout), run.layout)}, nulled(results))

    def _warnings(self) -> list[str]:
        if not self.objective.is_evaluated:
            return []
        what = "stimuli" if self.objective.task is None else f"items of task {self.objective.of!r}"
        return [
            f"units are ranked by the very {what} that are evaluated: what ablating them does is "
            "not measured on fresh ones"
        ]

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the ranking."""
        remove(folder, RankingStage.files)


@dataclass(frozen=True)
class Objective:
    """Whose loss it is.

    Parameters
    ----------
    of
        ``contrast``, or the name of a task.
    task
        The task, made of the stimuli that localize; None: the contrast.
    is_evaluated
        Whether the run measures damage on the same stimuli or items.
    """

    of: str
    task: Task | None
    is_evaluated: bool

    @classmethod
    def of_run(cls, run: Run, of: str) -> "Objective":
        """Return the objective that a name stands for.

        Parameters
        ----------
        run
            The run, with its model.
        of
            ``contrast``, or the name of a task of the contrast.

        Raises
        ------
        ContrastError
            If the contrast has no such task.
        """
        if of == OF_CONTRAST:
            return cls(of, None, run.contrast.split == "none")
        sets = run.stimuli
        localizing = replace(sets, held_out=sets.localizing)
        made, evaluated = (
            {task.name: task for task in split_tasks(tasks_of(run.contrast, run.setup, stimuli))[0]}
            for stimuli in (localizing, sets)
        )
        if of not in made:
            known = ", ".join([OF_CONTRAST, *made])
            raise run.contrast.error_at(
                ("evaluate",), f"there is no task {of!r} in this contrast; there are {known}"
            )
        return cls(of, made[of], made[of].identity == evaluated[of].identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides it beside the stimuli that localize, as JSON."""
        return {"of": self.of, **({"task": dict(self.task.identity)} if self.task else {})}

    def terms(self, run: Run) -> Sequence[Term]:
        """Return the losses that it is a sum of.

        Parameters
        ----------
        run
            The run, with its model.

        Raises
        ------
        TaskError
            If the task has no loss.
        """
        if self.task is None:
            return contrast_terms(run.contrast, run.stimuli.localizing)
        self.task.prepare(run.adapter)
        return require_loss(self.task, self.of).loss()


def ranking_stages(run: Run) -> list[Stage[Run]]:
    """Return the stage that ranks the units of a run; none where the statistic does.

    Parameters
    ----------
    run
        The run, with its model.

    Raises
    ------
    ContrastError
        If the task whose loss is asked for has none, or is no task of the contrast.
    """
    select = run.contrast.select
    if select.by == "contrast":
        return []
    objective = Objective.of_run(run, select.of)
    try:
        if objective.task is not None:
            require_loss(objective.task, select.of)
    except TaskError as error:
        raise run.contrast.error_at(("select", "of"), str(error)) from None
    return [RankingStage(objective)]


def _ablation(run: Run) -> Ablation:
    """Return what would be done to every unit."""
    everything = UnitMask(run.layout, np.ones(run.layout.n_units, dtype=bool))
    if run.contrast.select.baseline == "zero":
        return Ablation(everything)
    moments = run.moments if isinstance(run.adapter, ReadsPositions) else None
    return Ablation.of("mean", everything, run.statistics, moments)
