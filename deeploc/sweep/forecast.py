"""What cells will need, told without reading weights."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from deeploc import plugins
from deeploc.analysis.localization import layout_of
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, Classifies
from deeploc.core.outline import Outline
from deeploc.core.readout import Readout
from deeploc.core.site import KINDS
from deeploc.core.task import check_needs
from deeploc.core.units import Layout, Site
from deeploc.errors import DeeplocError
from deeploc.progress import ProgressReporter, SilentReporter, tell
from deeploc.runs.inputs import sampled_stimuli, tasks_of
from deeploc.runs.untrained import MOST_PARAMETERS
from deeploc.stimuli import StimulusSets
from deeploc.sweep.cells import Cell, Group, groups_of
from deeploc.sweep.counting import Passes, passes_of
from deeploc.sweep.work import Work

MOST_BUILT = 2**28
"""A larger model is not built with random weights to see its sites: here they take 1 GiB."""

_PROCESS = 2**30
"""Bytes of a worker beside the weights: libraries, activations that are kept."""

_FEW = 4
"""Stimuli that are timed first."""

_TIMED = 1.0
"""Seconds for which a model with random weights is then timed, in batches as a run has them."""

_MADE_UP = 10_000
"""Units of a site of a model whose sites are not known; the number of passes does not depend on
it."""


@dataclass(frozen=True)
class Forecast:
    """What a cell will need.

    Parameters
    ----------
    cell
        The cell.
    units
        How many units its contrast reads; None: not known before the model is loaded.
    passes
        How many forward passes it takes, None where that is not known.
    seconds
        How long one of them takes, on the model with random weights; None: not known.
    why
        Why something is not known, or why the cell will fail.
    fails
        Whether it will fail.
    """

    cell: Cell
    units: int | None = None
    passes: Passes | None = None
    seconds: float | None = None
    why: str = ""
    fails: bool = False


def forecast(cells: Sequence[Cell], reporter: ProgressReporter | None = None) -> list[Forecast]:
    """Return what every cell will need; models are built with random weights if they are small.

    Parameters
    ----------
    cells
        The cells.
    reporter
        Who receives progress; default nobody.
    """
    reporter = reporter or SilentReporter()
    made: dict[int, Forecast] = {}
    with reporter.progress("counting", len(cells)) as on_progress:
        for group in groups_of(cells):
            tell(reporter, group.cells[0].model)
            for each in _of_group(group):
                made[each.cell.number] = each
                on_progress(1)
    return [made[cell.number] for cell in cells]


def memory_of(work: Work) -> int | None:
    """Return how many bytes of memory a worker is expected to need, None where that is not known.

    These are the weights, those of an untrained copy where the run makes one, and what a process
    takes beside them.

    Parameters
    ----------
    work
        The cells of one model.
    """
    try:
        outline = _outline(work.cells[0])
    except DeeplocError:
        return None
    if outline is None:
        return None
    return _PROCESS + outline.bytes * (1 + _is_copied(work.cells[0], outline))


def _of_group(group: Group) -> Iterator[Forecast]:
    """Yield what the cells of one model need; what only the seed tells apart is counted once."""
    known: dict[tuple[str, ...], Forecast] = {}
    model = _Model()
    for cell in group.cells:
        same = (cell.contrast, *cell.changes, str(cell.setup.folder))
        if same not in known:
            try:
                known[same] = _of_cell(cell, model)
            except (DeeplocError, ValueError) as error:
                why = " ".join(str(error).split())
                known[same] = Forecast(cell, why=why, fails=True)
        yield replace(known[same], cell=cell)


class _Model:
    """What is known of the model of a group: its size, and itself with random weights."""

    def __init__(self) -> None:
        self.why = ""
        self._copies: Mapping[str, Adapter | None] = {}

    def outline(self, cell: Cell) -> Outline | None:
        """Return its size, None where its adapter cannot tell."""
        return _outline(cell)

    def copy(self, cell: Cell, contrast: Contrast) -> Adapter | None:
        """Return the model with random weights, None where it is too large or cannot be built."""
        modality = contrast.modality
        if modality not in self._copies:
            self._copies = {modality: self._built(cell, contrast)}
        return self._copies[modality]

    def _built(self, cell: Cell, contrast: Contrast) -> Adapter | None:
        outline = self.outline(cell)
        if outline is None:
            self.why = "its adapter cannot tell its size before it is loaded"
            return None
        if outline.parameters > MOST_BUILT:
            self.why = f"{outline.parameters / 1e9:.3g} billion parameters, not built to see sites"
            return None
        options = replace(cell.setup.model, untrained=True, modality=contrast.modality)
        return plugins.load_model(cell.setup.address, options)


def _of_cell(cell: Cell, model: _Model) -> Forecast:
    contrast = cell.loaded()
    copy = model.copy(cell, contrast)
    stimuli = sampled_stimuli(contrast, cell.setup)
    tasks = tasks_of(contrast, cell.setup, stimuli)
    outline = model.outline(cell)
    copies = _is_copied(cell, outline) and _wants_copy(contrast)
    if copy is None:
        layout = _made_up(contrast)
        if layout is None:
            return Forecast(cell, why=model.why)
        passes = passes_of(contrast, stimuli, tasks, layout, copies=copies)
        return Forecast(cell, passes=passes, why=model.why)
    check_needs(copy, tasks)
    layout = layout_of(copy, contrast)
    classes = copy.classes if isinstance(copy, Classifies) else ()
    passes = passes_of(contrast, stimuli, tasks, layout, classes=classes, copies=copies)
    return Forecast(cell, layout.n_units, passes, _seconds(copy, contrast, stimuli, layout))


def _seconds(copy: Adapter, contrast: Contrast, stimuli: StimulusSets, layout: Layout) -> float:
    """Return how long the model takes for one stimulus: of a few, then of as many as fit a second.

    The first stimulus is not timed.
    """
    each = [stimulus for group in stimuli.localizing.values() for stimulus in group]

    def timed(n: int) -> float:
        shown = each[:: max(len(each) // n, 1)][:n]
        started = time.perf_counter()
        for _ in copy.activations(shown, layout, Readout.of(contrast.read)):
            pass
        return (time.perf_counter() - started) / len(shown)

    timed(1)
    seconds = timed(_FEW)
    n = min(int(_TIMED / seconds), len(each))
    return timed(n) if n > _FEW else seconds


def _made_up(contrast: Contrast) -> Layout | None:
    """Return a layout with the kinds of site that are read, None where they are not named."""
    kinds = contrast.read.sites
    if not all(kind in KINDS for kind in kinds):
        return None
    return Layout(tuple(Site(kind, kind, _MADE_UP) for kind in kinds))


def _outline(cell: Cell) -> Outline | None:
    return plugins.outline_model(cell.setup.address, cell.setup.model)


def _is_copied(cell: Cell, outline: Outline | None) -> bool:
    small = outline is None or outline.parameters <= MOST_PARAMETERS
    return small and not cell.setup.model.untrained


def _wants_copy(contrast: Contrast) -> bool:
    return contrast.verdict.untrained and contrast.select.by == "contrast"
