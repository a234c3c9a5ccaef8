"""Tasks for the intact, the ablated and the control model: what it can no longer do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from deeploc.contrast.model import Ablate, Controls, Select
from deeploc.core import selection as select
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter
from deeploc.core.results import Cell, Score, score
from deeploc.core.task import Task
from deeploc.core.units import StatMap, UnitMask

Done = Callable[[list[Score]], None]
"""Called with the new scores of one cell as soon as they are measured."""


Make = Callable[[], Ablation | None]
Draw = Callable[[], UnitMask]


class Cells(Mapping[Cell, Ablation | None]):
    """The ablation of every cell, made when it is asked for: of millions of units, one at a time.

    Equal requests give equal ablations.
    """

    def __init__(self, makers: Mapping[Cell, Make]) -> None:
        self._makers = makers

    def __getitem__(self, cell: Cell) -> Ablation | None:
        return self._makers[cell]()

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Plan:
    """Every ablation to be measured, and what had to be left out and why."""

    cells: Mapping[Cell, Ablation | None]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Dose:
    """The units ablated at one dose at the sites of one kind, and the masks it is held against."""

    kind: str
    percent: float
    masks: Mapping[str, Draw] = field(default_factory=dict)


def network(stat_map: StatMap, how: Select) -> UnitMask:
    """Return the selected units: ``how`` applied to the sites of each kind on their own.

    Raises
    ------
    ValueError
        If ``how`` asks for more units than there are.
    """
    parts = [_select(stat_map, how, kind).selected for kind in stat_map.layout.kinds]
    return UnitMask(stat_map.layout, np.logical_or.reduce(parts))


def plan(stat_map: StatMap, mask: UnitMask, ablate: Ablate, seed: int) -> Plan:
    """Return every cell of an evaluation: the intact model, the selected units, the controls.

    Each kind of site is ablated on its own, so that kinds can be compared. The doses are
    ``ablate.percent`` of the units of a kind by t, or ``mask`` itself where that is not given.
    A dose that rounds down to no unit is left out with a notice.
    """
    doses, notices = [], []
    for kind in mask.layout.kinds:
        size = int(mask.layout.of_kind(kind).sum())
        for percent, top in _doses(stat_map, mask, ablate, kind):
            if len(top):
                masks: dict[str, Draw] = {"top": partial(_itself, top)}
                masks |= _controls(stat_map, top, kind, ablate.controls, seed)
                doses.append(_Dose(kind, percent, masks))
            else:
                notices.append(f"{percent:g} % of {size:,} {kind} units is no unit: not ablated")
    cells: dict[Cell, Make] = {Cell(): lambda: None}
    for name in dict.fromkeys(name for dose in doses for name in dose.masks):
        for dose, mode in ((d, m) for d in doses if name in d.masks for m in ablate.mode):
            cell = Cell(dose.kind, mode, dose.percent, name)
            cells[cell] = partial(_ablation, mode, dose.masks[name], stat_map)
    return Plan(Cells(cells), tuple(notices))


def evaluate(
    adapter: Adapter,
    tasks: Sequence[Task],
    cells: Mapping[Cell, Ablation | None],
    *,
    known: Sequence[Score] = (),
    seed: int = 0,
    done: Done = lambda _: None,
) -> list[Score]:
    """Return the scores of every task in every cell; scores already ``known`` are not measured.

    ``done`` hears of each cell, so that a caller can save and show progress.

    Raises
    ------
    TaskError
        If the model lacks an ability that a task needs.
    """
    measured = {(row.task, row.cell) for row in known}
    scores = list(known)
    for task in tasks:
        if any((task.name, cell) not in measured for cell in cells):
            task.prepare(adapter)
    for cell in cells:
        missing = [task for task in tasks if (task.name, cell) not in measured]
        new = _measure(adapter, missing, cell, cells[cell], seed) if missing else []
        scores += new
        done(new)
    return scores


def _measure(
    adapter: Adapter, tasks: Sequence[Task], cell: Cell, edit: Ablation | None, seed: int
) -> list[Score]:
    with adapter.ablated(edit) if edit else nullcontext():
        found = [(task.name, m) for task in tasks for m in task.measure(adapter)]
    return [score(name, measurement, cell, seed) for name, measurement in found]


def _doses(
    stat_map: StatMap, mask: UnitMask, ablate: Ablate, kind: str
) -> Iterator[tuple[float, UnitMask]]:
    """Yield (percent of the kind's units, mask)."""
    among = mask.layout.of_kind(kind)
    if ablate.percent is None:
        chosen = mask.of_kind(kind)
        yield round(100 * len(chosen) / int(among.sum()), 4), chosen
    else:
        for percent in ablate.percent:
            yield percent, select.top_percent(stat_map, percent, among)


def _select(stat_map: StatMap, how: Select, kind: str) -> UnitMask:
    among = stat_map.layout.of_kind(kind)
    if how.k is not None:
        return select.top_k(stat_map, how.k, among)
    if how.fdr is not None:
        return select.fdr(stat_map, how.fdr, among)
    if how.percentile is not None:
        share = how.percent
        k = None if share is None else select.count_of(share, int(among.sum()))
        return select.percentile_range(stat_map, *how.percentile, k, seed=how.seed, among=among)
    chosen = select.bottom_percent if how.tail == "bottom" else select.top_percent
    return chosen(stat_map, 1.0 if how.percent is None else how.percent, among)


def _controls(
    stat_map: StatMap, mask: UnitMask, kind: str, controls: Controls, seed: int
) -> dict[str, Draw]:
    among = stat_map.layout.of_kind(kind)
    masks: dict[str, Draw] = {}
    for i in range(controls.random):
        masks[f"random-{i}"] = partial(select.random_like, mask, (seed, i))
    for i in range(controls.random_global):
        masks[f"random-global-{i}"] = partial(select.random_global, mask, (seed, i), among)
    if controls.bottom:
        masks["bottom"] = partial(select.bottom_k, stat_map, len(mask), among)
    if controls.range is not None:
        low, high = controls.range
        masks[f"range-{low:g}-{high:g}"] = partial(
            select.percentile_range, stat_map, low, high, len(mask), seed=seed, among=among
        )
    return masks


def _itself(mask: UnitMask) -> UnitMask:
    return mask


def _ablation(mode: str, draw: Draw, stat_map: StatMap) -> Ablation:
    return Ablation.of(mode, draw(), stat_map)
