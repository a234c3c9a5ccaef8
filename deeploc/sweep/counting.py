"""How many forward passes a run will take, counted by the code that plans and measures it.

The tasks are measured on a model that only counts what it is shown, and the ablations are those of
`deeploc.analysis.planning.plan` on statistics made up for the layout. A pass is one stimulus or one
text to be scored; how many of them share a batch does not matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.analysis.deciding import deciding_of
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.massive import N_STIMULI
from deeploc.analysis.planning import deciding_doses, plan
from deeploc.contrast.model import Contrast
from deeploc.core import selection
from deeploc.core.ablation import Ablation, Edit
from deeploc.core.adapter import Batch, Predictions, TextRequest, TextScore
from deeploc.core.effects import MIN_CONTROLS
from deeploc.core.modes import Modes
from deeploc.core.readout import Readout
from deeploc.core.results import Cell
from deeploc.core.task import Reading, Task
from deeploc.core.unit_task import AnyTask, split_tasks
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.stimuli import Stimulus, StimulusSets

_FEATURES = 8
"""Width of the made-up input of a classifier."""


@dataclass(frozen=True)
class Passes:
    """How many forward passes a run takes.

    Parameters
    ----------
    least
        Without the random controls that are drawn until the verdict is decided.
    most
        With as many of them as may be drawn.
    """

    least: int
    most: int


class CountingAdapter:
    """A model that counts what it is shown; its answers are random numbers.

    Parameters
    ----------
    layout
        Its sites.
    classes
        The names of its classes.
    """

    identity: Mapping[str, Any] = {"adapter": "counting", "model": "counting", "weights": "none"}

    def __init__(self, layout: Layout, classes: Sequence[Sequence[str]] = ()) -> None:
        self.sites = layout
        self.classes = classes
        self.count = 0
        self._random = np.random.default_rng(0)

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, _: Readout
    ) -> Iterator[Batch]:
        """Yield made-up activations, one batch."""
        self.count += len(stimuli)
        yield Batch(np.arange(len(stimuli)), self.made_up(len(stimuli), layout.n_units))

    def ablated(self, _: Edit) -> AbstractContextManager[None]:
        """Do nothing: there is nothing to ablate."""
        return nullcontext()

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return made-up scores."""
        self.count += len(requests)
        return [TextScore(-float(self._random.random()), 1, False) for _ in requests]

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        """Return made-up predictions."""
        self.count += len(stimuli)
        n = len(stimuli)
        return Predictions(self.made_up(n, len(self.classes) or 2), self.made_up(n, _FEATURES))

    def made_up(self, n: int, width: int) -> Float[np.ndarray, "stimulus unit"]:
        """Return numbers in place of what the model would say."""
        return self._random.standard_normal((n, width)).astype(np.float32)


def passes_of(
    contrast: Contrast,
    stimuli: StimulusSets,
    tasks: Sequence[AnyTask],
    layout: Layout,
    *,
    classes: Sequence[Sequence[str]] = (),
    copies: bool = False,
) -> Passes:
    """Return how many forward passes a run takes.

    Parameters
    ----------
    contrast
        The contrast.
    stimuli
        Its stimuli.
    tasks
        Its tasks.
    layout
        The sites that are read.
    classes
        The names of the classes of the model.
    copies
        Whether an untrained copy is localized beside it.

    Raises
    ------
    DeeplocError
        If a task cannot be measured on such a model.
    ValueError
        If a control needs more units than there are.
    """
    read = sum(map(len, stimuli.localizing.values()))
    if contrast.split == "half":
        read += sum(map(len, stimuli.held_out.values()))
    positions = min(N_STIMULI, sum(map(len, stimuli.localizing.values())))
    lesioned, on_units = split_tasks(tasks)
    measured = sum(len(task.reading(layout).stimuli) for task in on_units)
    before = read * (2 if copies else 1) + positions + measured
    stat_map, mask = _made_up(layout)
    modes = Modes(stat_map, _never, _never, difference=_never)
    planned = plan(stat_map, mask, contrast.ablate, 0, lambda _: stat_map.t, modes=modes)
    counted = _Counted(contrast, lesioned, CountingAdapter(layout, classes), stat_map, mask)
    least = before + counted.intact + counted.ablated * (len(planned.cells) - 1)
    return Passes(least, least + counted.deciding(stat_map, mask, modes, planned.cells))


class _Counted:
    """What the tasks take, on the intact model and in an ablation."""

    def __init__(
        self,
        contrast: Contrast,
        tasks: Sequence[Task],
        adapter: CountingAdapter,
        stat_map: StatMap,
        mask: UnitMask,
    ) -> None:
        self._contrast, self._tasks = contrast, tasks

        def recall(reading: Reading) -> Float[np.ndarray, "stimulus unit"]:
            return adapter.made_up(len(reading.stimuli), reading.layout.n_units)

        evaluator = Evaluator(adapter, tasks, recall=recall)
        scores = evaluator.scores(Cell(), None) if tasks else []
        self.intact = adapter.count
        edit = Ablation.of("zero", mask, stat_map)
        adapter.count = 0
        if tasks:
            evaluator.measurements(Cell("", "zero", 1.0, "top"), edit)
        self.ablated, adapter.count = adapter.count, 0
        better = {task.name: task.metrics for task in tasks}
        self._deciding = deciding_of(contrast, scores, better) if tasks else None
        self._of_deciding = 0
        if self._deciding is not None:
            some = [task for task in tasks if task.name in self._deciding.tasks]
            alone = Evaluator(adapter, some, recall=recall)
            alone.scores(Cell(), None)
            adapter.count = 0
            alone.measurements(Cell("", "zero", 1.0, "top"), edit)
            self._of_deciding = adapter.count

    def deciding(
        self, stat_map: StatMap, mask: UnitMask, modes: Modes, planned: Mapping[Cell, Any]
    ) -> int:
        """Return the most passes of the controls that are drawn until the verdict is decided."""
        contrast = self._contrast
        most, asked = contrast.verdict.controls, contrast.ablate.controls.random
        if self._deciding is None or min(most, asked) < MIN_CONTROLS:
            return 0
        doses = deciding_doses(
            stat_map, mask, contrast.ablate, contrast.verdict.dose, 0, modes=modes
        )
        cells = [cell for dose in doses for cell in (dose.cell, *map(dose.control, range(most)))]
        return self._of_deciding * sum(cell not in planned for cell in cells)


def _made_up(layout: Layout) -> tuple[StatMap, UnitMask]:
    """Return statistics and a selection that could be those of the sites."""
    t = np.random.default_rng(0).standard_normal(layout.n_units)
    ones = np.ones(layout.n_units)
    stat_map = StatMap(layout, t, df=ones, p=ones, q=ones, d=ones, baseline=ones, magnitude=ones)
    chosen = np.zeros(layout.n_units, dtype=bool)
    for kind in layout.kinds:
        chosen |= selection.top_k(stat_map, 1, layout.of_kind(kind)).selected
    return stat_map, UnitMask(layout, chosen)


def _never() -> Any:
    raise AssertionError("the plan asks for an ablation, not for its numbers")
