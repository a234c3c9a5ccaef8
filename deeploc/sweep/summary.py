"""A cell in one line: which one it is, and what was found."""

from deeploc.contrast.source_fields import as_text
from deeploc.core.verdict import CHAIN
from deeploc.errors import RunError
from deeploc.runs.folder import RunFolder
from deeploc.sweep.record import CellRecord, SweepRecord


def title_of(cell: CellRecord) -> str:
    """Return what a cell is.

    Parameters
    ----------
    cell
        The cell.

    Examples
    --------
    >>> title_of(CellRecord(model="hf:gpt2", contrast="language", seed=1, folder="", command="",
    ...     options={"read.pool": "mean"}, status="done", seconds=1.0, error=""))
    'language in hf:gpt2, seed 1, read.pool mean'
    """
    return ", ".join([f"{cell.contrast} in {cell.model}", f"seed {cell.seed}", *options_of(cell)])


def options_of(cell: CellRecord) -> list[str]:
    """Return the options of a cell in words.

    Parameters
    ----------
    cell
        The cell.
    """
    return [f"{key} {as_text(value)}" for key, value in cell.options.items()]


def line_of(record: SweepRecord, number: int) -> str:
    """Return what became of a cell, in one line.

    Parameters
    ----------
    record
        The sweep.
    number
        The number of the cell.
    """
    cell = record.cells[number]
    if cell.status == "failed":
        return f"{title_of(cell)}: failed: {cell.error}"
    how = "reused" if cell.status == "reused" else f"{cell.seconds:.0f} s"
    return f"{title_of(cell)}: {how}; {_verdict(RunFolder(record.folder / cell.folder))}"


def _verdict(run: RunFolder) -> str:
    try:
        verdict = run.read_verdict()
    except RunError as error:
        return str(error)
    kinds = []
    for network in verdict.networks if verdict else ():
        asked = [(question, network.answer(question)) for question in CHAIN]
        told = ", ".join(f"{name} {answer}" for name, answer in asked if answer != "not asked")
        kinds.append(f"{network.sites} {told or 'not tested'}")
    return "; ".join(kinds) or "no verdict"
