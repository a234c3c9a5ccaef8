"""sweep.json: the cells of a sweep and what became of them, so that the folder explains itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deeploc import atomic
from deeploc.errors import RunError
from deeploc.sweep.cells import Cell
from deeploc.sweep.file import Sweep
from deeploc.sweep.work import CellResult, Status

SCHEMA = 1
"""The version of the format of sweep folders."""

NAME = "sweep.json"


class CellRecord(BaseModel):
    """A cell as it was declared, and what became of it.

    ``folder`` is relative to that of the sweep; ``command`` makes the same run by hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str
    contrast: str
    seed: int
    options: dict[str, Any]
    folder: str
    command: str
    status: Status
    seconds: float
    error: str


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    deeploc: str
    name: str
    title: str
    notes: str | None
    cells: list[CellRecord]


@dataclass(frozen=True)
class SweepRecord:
    """A sweep folder: what was asked, and what became of every cell.

    Parameters
    ----------
    folder
        The folder.
    name, title, notes
        What the sweep file says.
    deeploc
        The version that wrote it.
    cells
        The cells, in their order.
    """

    folder: Path
    name: str
    title: str
    notes: str | None
    deeploc: str
    cells: tuple[CellRecord, ...]

    @classmethod
    def of(cls, sweep: Sweep, folder: Path, cells: Sequence[Cell]) -> "SweepRecord":
        """Return the record of a sweep of which nothing has run yet.

        Parameters
        ----------
        sweep
            The sweep.
        folder
            Its folder.
        cells
            Its cells.
        """
        waiting = [_recorded(cell, CellResult(cell.number)) for cell in cells]
        made = version("deeploc")
        return cls(folder, sweep.name, sweep.title, sweep.notes, made, tuple(waiting))

    def with_result(self, result: CellResult) -> "SweepRecord":
        """Return the record after one more cell; one that is reused took what it took before.

        Parameters
        ----------
        result
            What became of it.
        """
        cells = list(self.cells)
        seconds = cells[result.number].seconds if result.status == "reused" else 0.0
        what = {
            "status": result.status,
            "seconds": seconds or result.seconds,
            "error": result.error,
        }
        cells[result.number] = cells[result.number].model_copy(update=what)
        return replace(self, cells=tuple(cells))

    def count(self, status: Status) -> int:
        """Return how many cells have a status.

        Parameters
        ----------
        status
            The status.
        """
        return sum(cell.status == status for cell in self.cells)

    def write(self) -> None:
        """Write sweep.json."""
        values: Mapping[str, Any] = {
            "schema": SCHEMA,
            **{key: value for key, value in asdict(self).items() if key not in ("folder", "cells")},
            "cells": [cell.model_dump() for cell in self.cells],
        }
        atomic.write_json(self.folder / NAME, values)


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a sweep.

    Parameters
    ----------
    folder
        The folder.
    """
    return (folder / NAME).is_file()


def read_record(folder: Path) -> SweepRecord:
    """Return the record in a sweep folder.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    RunError
        If there is none, or it is damaged.
    """
    file = folder / NAME
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or plain.pop("schema", None) != SCHEMA:
            raise RunError(f"{file} is of another format than {SCHEMA}; run the sweep again")
        read = _Record.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RunError(f"{file} is damaged: {place}: {first['msg']}; run the sweep again") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{file} cannot be read: {reason}; run the sweep again") from None
    return SweepRecord(folder, read.name, read.title, read.notes, read.deeploc, tuple(read.cells))


def _recorded(cell: Cell, result: CellResult) -> CellRecord:
    return CellRecord(
        model=cell.model,
        contrast=cell.name,
        seed=cell.setup.seed,
        options=dict(cell.options),
        folder=cell.folder.name,
        command=cell.setup.command,
        status=result.status,
        seconds=result.seconds,
        error=result.error,
    )
