"""Tasks on units: what the selected units tell, and as many others in every control."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from deeploc.analysis.activation_cache import Readings, not_kept
from deeploc.analysis.evaluation import by_measurement, renamed
from deeploc.analysis.planning import Cells
from deeploc.core.adapter import Adapter
from deeploc.core.results import Cell, Score, scores_of
from deeploc.core.scalars import mask_of_units
from deeploc.core.task import Reading
from deeploc.core.task_plugins import checked, guarded, title_of
from deeploc.core.unit_task import READ, UnitTask, units_key
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import TaskError, wrong
from deeploc.progress import OnProgress, ignore_progress


def masks_of(cells: Cells, layout: Layout) -> Iterator[tuple[Cell, UnitMask]]:
    """Yield the masks of a plan as cells of units that are read, each mask once.

    Parameters
    ----------
    cells
        The cells of a plan with one mode; the intact model is passed over.
    layout
        The units of the run.
    """
    for cell, ablation in cells.items():
        if ablation is not None:
            yield replace(cell, mode=READ), mask_of_units(ablation.mask, layout)


class UnitEvaluator:
    """Measures tasks on the units of masks; the stimuli of a task are read once.

    Parameters
    ----------
    adapter
        The intact model.
    tasks
        What is measured.
    layout
        The units of the run.
    seed
        Of the bootstrap resamples.
    task_keys
        Task -> hash of what decides its numbers.
    known
        Scores that are already measured: where task, ``task_key`` and the key of the units are
        those of a mask, they are returned in place of a new measurement.
    on_progress
        Called with the number of stimuli of each batch that is read.
    """

    def __init__(
        self,
        adapter: Adapter,
        tasks: Sequence[UnitTask],
        layout: Layout,
        *,
        seed: int = 0,
        task_keys: Mapping[str, str] | None = None,
        known: Sequence[Score] = (),
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        self._adapter = adapter
        self._tasks = tasks
        self._layout = layout
        self._seed = seed
        self._task_keys = task_keys or {}
        self._known = by_measurement(known)
        self._activations: dict[str, Float[np.ndarray, "stimulus unit"]] = {}
        self._on_progress = on_progress

    def scores(self, cell: Cell, mask: UnitMask) -> list[Score]:
        """Return the scores of every task on the units of a mask, known or measured now.

        Parameters
        ----------
        cell
            The name of the mask; its mode is `READ`.
        mask
            The units.

        Raises
        ------
        TaskError
            If a task cannot be measured on them.
        """
        key, rows = units_key(mask), list[Score]()
        for task in self._tasks:
            name = (task.name, self._task_keys.get(task.name, ""), key)
            if name not in self._known:
                self._known |= by_measurement(self._measured(task, cell, mask, key))
            rows += [renamed(row, cell) for row in self._known[name]]
        return rows

    def _measured(self, task: UnitTask, cell: Cell, mask: UnitMask, key: str) -> list[Score]:
        activations = self._read(task)[:, mask.selected]
        with guarded(task):
            measured = task.measure_units(activations)
        named = [(task.name, each) for each in checked(task, measured)]
        return scores_of(named, cell, self._seed, key=key, task_keys=self._task_keys)

    def _read(self, task: UnitTask) -> Float[np.ndarray, "stimulus unit"]:
        """Return the activations of all units for the stimuli of a task, read on first use."""
        if task.name not in self._activations:
            with guarded(task):
                reading = task.reading(self._layout)
            if not isinstance(reading, Reading) or reading.layout != self._layout:
                right = "a Reading (deeploc.core.task) of the layout that it was given"
                raise wrong(f"`reading` of {title_of(task)}", reading, right)
            stimuli, layout = reading.stimuli, reading.layout
            readings = Readings(self._adapter, [stimuli])
            values = readings.matrix(
                stimuli, layout, reading.readout, on_progress=self._on_progress
            )
            if values is None:
                why = not_kept(len(stimuli) * layout.n_units)
                raise TaskError(f"task {task.name!r}: {why}")
            self._activations[task.name] = values
        return self._activations[task.name]
