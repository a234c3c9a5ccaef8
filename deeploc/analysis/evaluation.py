"""Tasks on the intact, the ablated and the control model: what it can no longer do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter
from deeploc.core.results import INTACT, Cell, Measurement, Score, score
from deeploc.core.task import Task

OnScores = Callable[[list[Score]], None]
"""Called with the new scores of each cell as soon as they are measured."""


def evaluate(
    adapter: Adapter,
    tasks: Sequence[Task],
    cells: Mapping[Cell, Ablation | None],
    *,
    seed: int = 0,
    task_keys: Mapping[str, str] | None = None,
    known: Sequence[Score] = (),
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
    on_scores
        Called after each cell with its scores, so that a caller can save them.

    Raises
    ------
    TaskError
        If the model lacks an ability that a task needs.
    """
    session = _Session(adapter, tasks, seed, task_keys or {}, _by_measurement(known))
    scores: list[Score] = []
    for cell in cells:
        rows = session.scores(cell, cells[cell])
        scores += rows
        on_scores(rows)
    return scores


@dataclass
class _Session:
    """Measures cell after cell; a task is prepared before its first measurement."""

    adapter: Adapter
    tasks: Sequence[Task]
    seed: int
    task_keys: Mapping[str, str]
    known: Mapping[tuple[str, str, str], Sequence[Score]]
    prepared: set[str] = field(default_factory=set)

    def scores(self, cell: Cell, ablation: Ablation | None) -> list[Score]:
        key = INTACT if ablation is None else ablation.key
        reused = {task.name: self._known(task, key) for task in self.tasks}
        missing = [task for task in self.tasks if not reused[task.name]]
        measured = self._measure(missing, ablation) if missing else {}
        rows: list[Score] = []
        for task in self.tasks:
            keys = {"key": key, "task_key": self._task_key(task)}
            rows += [renamed(row, cell) for row in reused[task.name]]
            rows += [
                score(task.name, measurement, cell, self.seed, **keys)
                for measurement in measured.get(task.name, ())
            ]
        return rows

    def _measure(
        self, tasks: Sequence[Task], ablation: Ablation | None
    ) -> dict[str, list[Measurement]]:
        for task in tasks:
            if task.name not in self.prepared:
                task.prepare(self.adapter)
                self.prepared.add(task.name)
        with self.adapter.ablated(ablation) if ablation else nullcontext():
            return {task.name: task.measure(self.adapter) for task in tasks}

    def _known(self, task: Task, key: str) -> Sequence[Score]:
        return self.known.get((task.name, self._task_key(task), key), ())

    def _task_key(self, task: Task) -> str:
        return self.task_keys.get(task.name, "")


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


def _by_measurement(known: Iterable[Score]) -> dict[tuple[str, str, str], list[Score]]:
    """Return the known scores by task, task key and key of the ablation, each outcome once."""
    groups: dict[tuple[str, str, str], dict[tuple[str, str], Score]] = {}
    for row in known:
        group = groups.setdefault((row.task, row.task_key, row.key), {})
        group.setdefault((row.metric, row.condition), row)
    return {measurement: list(group.values()) for measurement, group in groups.items()}
