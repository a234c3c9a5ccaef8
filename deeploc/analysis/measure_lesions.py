"""Measure the masks of two contrasts, and their random sets, on the tasks of both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deeploc.analysis.deciding import deciding_of, place_of
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.lesions import Ablated, Column, LesionMatrix, Side, common_kinds
from deeploc.analysis.planning import DecidingDose
from deeploc.core.ablation import Edit
from deeploc.core.adapter import Adapter
from deeploc.core.bootstrap import change
from deeploc.core.damage import Damage, damage_at
from deeploc.core.outcomes import main_outcomes
from deeploc.core.results import Cell, Measurement, Score
from deeploc.core.units import UnitMask

OnScores = Callable[[Side | None, list[Score]], None]
"""Called with the scores of each ablation, and whose mask was ablated (None: the intact model)."""


def lesion_matrix(
    adapter: Adapter,
    sides: tuple[Side, Side],
    n_controls: int,
    *,
    known: Sequence[Score] = (),
    on_scores: OnScores = lambda _, __: None,
) -> LesionMatrix:
    """Measure the mask of each side and its matched random sets on the tasks of both.

    The intact model and the masks themselves are always measured, since the interval of a change
    needs the items; of the random sets only those whose scores are not known.

    Parameters
    ----------
    adapter
        The model.
    sides
        The two contrasts, with different names.
    n_controls
        So many random sets of each mask.
    known
        Scores that are already measured.
    on_scores
        Called after each ablation: first the intact model, then the masks, then the random sets.

    Raises
    ------
    TaskError
        If the model lacks an ability that a task needs.
    """
    measuring, kinds = _Measuring(adapter, sides, known), common_kinds(sides)
    before, intact = measuring.items(Cell(), None), measuring.scores(Cell(), None)
    on_scores(None, intact)
    rows = [_Row(side, side.doses[kind], list(intact)) for kind in kinds for side in sides]
    for row in rows:
        row.items = measuring.items(row.dose.cell, row.dose.ablation(row.dose.cell))
        on_scores(row.side, row.add(row.dose.cell, measuring))
    for index in range(n_controls):
        for row in rows:
            on_scores(row.side, row.add(row.dose.control(index), measuring))
    columns, primaries = _columns(sides, intact)
    seeds = {side.name: side.seed for side in sides}
    ablated = [row.ablated(columns, before, seeds) for row in rows]
    return LesionMatrix(
        columns,
        primaries,
        dict(zip(kinds, zip(ablated[::2], ablated[1::2], strict=True), strict=True)),
        {kind: _n_shared(*(_mask(side.doses[kind]) for side in sides)) for kind in kinds},
    )


_Id = tuple[str, str, str]
"""Key of the task, metric and condition."""


class _Measuring:
    """Measures the tasks of both sides, each distinct one once."""

    def __init__(self, adapter: Adapter, sides: tuple[Side, Side], known: Sequence[Score]) -> None:
        shared = set(sides[0].task_keys.values())
        second = [task for task in sides[1].tasks if sides[1].task_keys[task.name] not in shared]
        tasks = (sides[0].tasks, second)
        self._keys = [side.task_keys for side in sides]
        self._evaluators = [
            Evaluator(adapter, own, seed=side.seed, task_keys=side.task_keys, known=known)
            for side, own in zip(sides, tasks, strict=True)
        ]

    def scores(self, cell: Cell, ablation: Edit | None) -> list[Score]:
        """Return the scores of a cell on the tasks of both sides, known or measured now."""
        return [row for evaluator in self._evaluators for row in evaluator.scores(cell, ablation)]

    def items(self, cell: Cell, ablation: Edit | None) -> dict[_Id, Measurement]:
        """Measure a cell on the tasks of both sides, item by item."""
        return {
            (keys[task], measured.metric, measured.condition): measured
            for evaluator, keys in zip(self._evaluators, self._keys, strict=True)
            for task, measured in evaluator.measurements(cell, ablation)
        }


@dataclass
class _Row:
    """What was measured of one mask and its random sets, and of the intact model."""

    side: Side
    dose: DecidingDose
    scores: list[Score]
    items: Mapping[_Id, Measurement] = field(default_factory=dict)

    def add(self, cell: Cell, measuring: _Measuring) -> list[Score]:
        """Add the scores of the mask or of a random set, and return them."""
        new = measuring.scores(cell, self.dose.ablation(cell))
        self.scores += new
        return new

    def ablated(
        self,
        columns: Sequence[Column],
        before: Mapping[_Id, Measurement],
        seeds: Mapping[str, int],
    ) -> Ablated:
        """Return the damage and the change of every outcome, given the intact model."""
        changes = {
            column: change(before[_id(column)], self.items[_id(column)], seeds[column.of])
            for column in columns
        }
        damages = dict(self._damages(columns))
        return Ablated(self.side.name, self.dose.cell, self.dose.n_units, damages, changes)

    def _damages(self, columns: Sequence[Column]) -> Iterator[tuple[Column, Damage]]:
        place = place_of(self.dose.cell)
        for column in columns:
            rows = [row for row in self.scores if row.task_key == column.task_key]
            damage = damage_at(rows, place, column.outcome, column.better)
            if damage is not None:
                yield column, damage


def _columns(
    sides: tuple[Side, Side], intact: Sequence[Score]
) -> tuple[tuple[Column, ...], tuple[Column | None, Column | None]]:
    """Return the main outcomes of both sides, and the primary outcome of each."""
    columns: dict[_Id, Column] = {}
    primaries: list[Column | None] = []
    for side in sides:
        better = {task.name: task.metrics for task in side.tasks}
        rows = [row for row in intact if side.task_keys.get(row.task) == row.task_key]
        values = {(row.task, row.metric, row.condition): row.value for row in rows}
        deciding = deciding_of(side.contrast, rows, better)
        primary = [deciding.primary] if deciding else []
        for outcome in (*main_outcomes(values, better), *primary):
            task, metric, condition = outcome
            key = side.task_keys[task]
            column = Column(side.name, key, outcome, better[task][metric], values[outcome])
            columns.setdefault((key, metric, condition), column)
        primaries += [columns[side.task_keys[o[0]], o[1], o[2]] for o in primary] or [None]
    return tuple(columns.values()), (primaries[0], primaries[1])


def _id(column: Column) -> _Id:
    return (column.task_key, *column.outcome[1:])


def _mask(dose: DecidingDose) -> UnitMask:
    return dose.ablation(dose.cell).mask


def _n_shared(first: UnitMask, second: UnitMask) -> int:
    """Return how many units are in both masks; a site counts where both know it alike."""
    sizes = {site.name: site.n_units for site in second.layout.sites}
    same = [s.name for s in first.layout.sites if sizes.get(s.name) == s.n_units]
    return sum(int((first.at(name) & second.at(name)).sum()) for name in same)
