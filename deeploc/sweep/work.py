"""What a worker does: run cells one after the other, and load each model once."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deeploc import plugins
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.entry_points import at_fault, without_files
from deeploc.errors import DeeplocError
from deeploc.experiment import run_all
from deeploc.runs.folder import RunFolder
from deeploc.sweep.cells import Cell

Status = Literal["done", "reused", "failed", "waiting"]


@dataclass(frozen=True)
class Started:
    """A worker began with a cell.

    Parameters
    ----------
    number
        The number of the cell.
    pid
        The process that runs it.
    """

    number: int
    pid: int


@dataclass(frozen=True)
class StillRunning:
    """Nothing happened for a while: time to say what is running."""


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Parameters
    ----------
    number
        The number of the cell.
    status
        ``done``: something of it was computed now; ``reused``: all of it was there and current;
        ``failed``; ``waiting``: not run yet.
    seconds
        How long it took, the loading of its model included where that was loaded for it.
    error
        Why it failed, in one line.
    trace
        Where it failed, if that is a bug of deeploc and no mistake of the user.
    """

    number: int
    status: Status = "waiting"
    seconds: float = 0.0
    error: str = ""
    trace: str = ""


Event = Started | CellResult | StillRunning
"""What an engine tells of its workers."""

OnEvent = Callable[[Event], None]
"""Called when a worker begins with a cell, with what became of it, and from time to time."""

TICK = 60.0
"""Seconds without an event after which that is told."""


@dataclass(frozen=True)
class Work:
    """Cells for one worker.

    Parameters
    ----------
    cells
        The cells, in their order.
    plugins
        The plugin files that are in force.
    overwrite
        Whether a run with other inputs in the folder of a cell is replaced.
    memory
        How many bytes the worker needs; None: not known.
    """

    cells: tuple[Cell, ...]
    plugins: tuple[Path, ...] = ()
    overwrite: bool = False
    memory: int | None = None

    def without(self, finished: Sequence[int]) -> "Work":
        """Return the same without some cells.

        Parameters
        ----------
        finished
            The numbers of these.
        """
        left = tuple(cell for cell in self.cells if cell.number not in finished)
        return replace(self, cells=left)


def results_of(work: Work) -> Iterator[Started | CellResult]:
    """Run cells, and yield when each begins and what became of it.

    Parameters
    ----------
    work
        The cells; an error in one of them does not stop the others.
    """
    with without_files():
        plugins.use(work.plugins)
        model = _Model()
        for cell in work.cells:
            yield Started(cell.number, os.getpid())
            yield _result(cell, model, work.overwrite)


class _Model:
    """The model that was loaded last."""

    def __init__(self) -> None:
        self._adapter: Adapter | None = None
        self._key: tuple[str, ModelOptions] | None = None

    def of(self, cell: Cell, contrast: Contrast) -> Adapter:
        """Return the model of a cell; it is loaded if it is not the one before."""
        options = replace(cell.setup.model, modality=contrast.modality)
        if self._adapter is None or not self._is_same((cell.setup.address, options)):
            self._adapter, self._key = None, None
            gc.collect()  # adapters refer to themselves: two models would be in memory
            self._adapter = plugins.load_model(cell.setup.address, options)
        self._key = (cell.setup.address, options)
        return self._adapter

    def _is_same(self, wanted: tuple[str, ModelOptions]) -> bool:
        """Return whether the loaded model is the wanted one: a seed decides random weights only."""
        if self._key is None or self._adapter is None or wanted == self._key:
            return wanted == self._key
        is_trained = self._adapter.identity.get("untrained") is False
        address, options = self._key
        return is_trained and wanted == (address, replace(options, seed=wanted[1].seed))


def _result(cell: Cell, model: _Model, overwrite: bool) -> CellResult:
    started = time.monotonic()

    def made(status: Status, error: str = "", trace: str = "") -> CellResult:
        seconds = round(time.monotonic() - started, 3)
        return CellResult(cell.number, status, seconds, " ".join(error.split()), trace)

    before = _manifest(cell.folder)
    try:
        contrast = cell.loaded()
        adapter = model.of(cell, contrast)
        run_all(contrast, cell.setup, cell.folder, overwrite=overwrite, adapter=adapter)
    except DeeplocError as error:
        return made("failed", str(error))
    except MemoryError:
        return made("failed", "it does not fit into memory")
    except Exception as error:  # whatever one cell does, the others are run
        if plugin := at_fault(error):
            return made("failed", str(plugin.failed(error)))
        trace = traceback.format_exc()
        return made("failed", f"a bug of deeploc: {type(error).__name__}: {error}", trace)
    return made("reused" if _manifest(cell.folder) == before else "done")


def _manifest(folder: Path) -> bytes:
    file = RunFolder(folder).manifest
    return file.read_bytes() if file.is_file() else b""
