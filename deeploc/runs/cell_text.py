"""What is being measured, in a few words for whoever follows an evaluation."""

from collections.abc import Iterable

from deeploc.core.controls import MaskLabel
from deeploc.core.results import INTACT, Cell


def cell_text(cell: Cell, tasks: Iterable[str], n_random: int) -> str:
    """Return the mask, the dose and the tasks of a measurement.

    Parameters
    ----------
    cell
        What is ablated.
    tasks
        The names of the tasks that are measured.
    n_random
        How many random masks there are, at most.

    Examples
    --------
    >>> cell_text(Cell("block", "zero", 1.0, "random-6", "top"), ["perplexity"], 20)
    'mask 7 of 20, zero 1 %, perplexity, block'
    >>> cell_text(Cell("block", "mean", 0.5, "selected"), ["choice", "accuracy"], 20)
    'selected units, mean 0.5 %, choice, accuracy, block'
    >>> cell_text(Cell(), ["perplexity"], 20)
    'intact model, perplexity'
    """
    if cell.mask == INTACT:
        return ", ".join(["intact model", *tasks])
    label = MaskLabel.parse(cell.mask)
    mask = f"{cell.mask} units"
    if label.kind == "random" and label.index is not None:
        mask = f"mask {label.index + 1} of {n_random}"
    return ", ".join([mask, f"{cell.mode} {cell.percent:.3g} %", *tasks, cell.sites])
