"""Tasks on the intact, the ablated and the control model: what it can no longer do."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Adapter
from deeploc.core.adapter_plugins import edited
from deeploc.core.measuring import Recall, measure_all, nothing_known, prepare_all
from deeploc.core.results import INTACT, Cell, Measurement, Score, scores_of
from deeploc.core.task import Task
from deeploc.core.task_plugins import check_intact

OnScores = Callable[[list[Score]], None]
"""Called with the new scores of each cell as soon as they are measured."""


def evaluate(
    adapter: Adapter,
    tasks: Sequence[Task],
    cells: Mapping[Cell, Edit | None],
    *,
    seed: int = 0,
    task_keys: Mapping[str, str] | None = None,
    known: Sequence[Score] = (),
    recall: Recall = nothing_known,
    on_scores: OnScores = lambda _: None,
) -> list[Score]:
    """Return the scores of every task in every cell, cell by cell.

    Parameters
    ----------
    adapter
        The model.
    tasks
        What is measured.
    cells
        What is ablated, e.g. ``plan(...).cells``; None is the intact model.
    seed
        Of the bootstrap resamples.
    task_keys
        Task -> hash of what decides its numbers (model, items, options).
    known
        Scores that are already measured: where task, ``task_key`` and the key of the ablation are
        those of a cell, they are returned in place of a new measurement.
    recall
        Activations of the intact model that need not be read again.
    on_scores
        Called after each cell with its scores, so that a caller can save them.

    Raises
    ------
    TaskError
        If the model lacks an ability that a task needs.
    """
    evaluator = Evaluator(
        adapter, tasks, seed=seed, task_keys=task_keys, known=known, recall=recall
    )
    scores: list[Score] = []
    for cell in cells:
        rows = evaluator.scores(cell, cells[cell])
        scores += rows
        on_scores(rows)
    return scores


class Evaluator:
    """Measures cell after cell; a task is prepared before its first measurement.

    Parameters
    ----------
    adapter, tasks, seed, task_keys, known, recall
        As for `evaluate`. What was measured is known from then on.
    """

    def __init__(
        self,
        adapter: Adapter,
        tasks: Sequence[Task],
        *,
        seed: int = 0,
        task_keys: Mapping[str, str] | None = None,
        known: Sequence[Score] = (),
        recall: Recall = nothing_known,
    ) -> None:
        self.adapter = adapter
        self.tasks = tasks
        self.seed = seed
        self.task_keys = task_keys or {}
        self.recall = recall
        self._known = by_measurement(known)
        self._prepared: set[str] = set()

    def scores(
        self, cell: Cell, ablation: Edit | None, tasks: Collection[str] | None = None
    ) -> list[Score]:
        """Return the scores of a cell in the order of the tasks, known or measured now.

        Parameters
        ----------
        cell
            The name of the ablation.
        ablation
            What is ablated; None is the intact model.
        tasks
            The names of the tasks that are measured; default all.

        Raises
        ------
        TaskError
            If the model lacks an ability that a task needs.
        """
        key = INTACT if ablation is None else ablation.key
        wanted = [task for task in self.tasks if tasks is None or task.name in tasks]
        missing = [task for task in wanted if not self._find(task, key)]
        if missing:
            measured = self._measure(missing, ablation)
            new = scores_of(measured, cell, self.seed, key=key, task_keys=self.task_keys)
            self._known |= by_measurement(new)
        return [renamed(row, cell) for task in wanted for row in self._find(task, key)]

    def measurements(self, cell: Cell, ablation: Edit | None) -> list[tuple[str, Measurement]]:
        """Measure every task in a cell, known or not, and return the measurements item by item.

        Its scores are known from then on; those that were known before stay as they are.

        Parameters
        ----------
        cell
            The name of the ablation.
        ablation
            What is ablated; None is the intact model.

        Raises
        ------
        TaskError
            If the model lacks an ability that a task needs.
        """
        key = INTACT if ablation is None else ablation.key
        measured = self._measure(self.tasks, ablation)
        new = scores_of(measured, cell, self.seed, key=key, task_keys=self.task_keys)
        self._known = by_measurement(new) | self._known
        return measured

    def _measure(
        self, tasks: Sequence[Task], ablation: Edit | None
    ) -> list[tuple[str, Measurement]]:
        unprepared = [task for task in tasks if task.name not in self._prepared]
        prepare_all(self.adapter, unprepared, self.recall)
        self._prepared |= {task.name for task in unprepared}
        if ablation is None:
            measured = measure_all(self.adapter, tasks, self.recall)
            by_name = {task.name: task for task in tasks}
            check_intact([(by_name[name], measurement) for name, measurement in measured])
            return measured
        with edited(self.adapter, ablation):
            return measure_all(self.adapter, tasks)

    def _find(self, task: Task, key: str) -> Sequence[Score]:
        return self._known.get((task.name, self.task_keys.get(task.name, ""), key), ())


def renamed(row: Score, cell: Cell) -> Score:
    """Return a score as that of ``cell``: equal ablations may have several names.

    Parameters
    ----------
    row
        The score.
    cell
        The name that its ablation has in this evaluation.
    """
    return replace(
        row,
        sites=cell.sites,
        mode=cell.mode,
        percent=cell.percent,
        mask=cell.mask,
        control_of=cell.control_of,
        mask_kind=cell.label.kind,
        mask_index=cell.label.index,
    )


def by_measurement(known: Iterable[Score]) -> dict[tuple[str, str, str], list[Score]]:
    """Return scores by task, task key and key of what was ablated or read, each outcome once.

    Parameters
    ----------
    known
        Scores.
    """
    groups: dict[tuple[str, str, str], dict[tuple[str, str], Score]] = {}
    for row in known:
        group = groups.setdefault((row.task, row.task_key, row.key), {})
        group.setdefault((row.metric, row.condition), row)
    return {measurement: list(group.values()) for measurement, group in groups.items()}
