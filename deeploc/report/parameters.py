"""Whether the gradients of the weights point to the units that were selected."""

import csv
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deeploc.core.overlap import Overlap, rank_correlation
from deeploc.core.selectable import UnitScores
from deeploc.core.selection import top_k
from deeploc.runs.files import load_tensors
from deeploc.runs.folder import RunFolder
from deeploc.runs.parameters import ROWS, TABLE


@dataclass(frozen=True)
class Agreement:
    """The units of one kind of site beside the weights that compute or read them.

    Parameters
    ----------
    sites
        The kind of site.
    n_units
        How many of its units have weights of their own.
    overlap
        The selected ones of these, and as many with the largest |weight x gradient|.
    correlation
        Spearman's between |weight x gradient| and what units are ranked by.
    """

    sites: str
    n_units: int
    overlap: Overlap
    correlation: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        shared = self.overlap
        chance = {"expected": shared.expected, "p": shared.p}
        return {**asdict(self), "overlap": {**asdict(shared), **chance}}


@dataclass(frozen=True)
class TensorSum:
    """|weight x gradient| summed over a tensor, and the share of all weights that is (0-1)."""

    tensor: str
    weights: int
    total: float
    share: float


def agreements(folder: RunFolder) -> list[Agreement]:
    """Return how far the weights point to the selected units, per kind of site.

    Kinds of site whose units have no weights of their own are left out.

    Parameters
    ----------
    folder
        A run of which `deeploc parameters` was asked.

    Raises
    ------
    RunError
        If a file is missing or was changed.
    """
    tensors, layout = load_tensors(folder.checked("parameters", folder.path / ROWS))
    rows, stat_map, mask = tensors["rows"], folder.read_stat_map(), folder.read_mask()
    found = []
    for kind in layout.kinds:
        known = layout.of_kind(kind) & ~np.isnan(rows)
        if known.any():
            selected = mask.selected & known
            largest = top_k(UnitScores(layout, rows), int(selected.sum()), known).selected
            overlap = Overlap.of(selected[known], largest[known])
            r = rank_correlation(rows[known], stat_map.scores[known])
            found.append(Agreement(kind, int(known.sum()), overlap, r))
    return found


def tensor_sums(folder: RunFolder) -> list[TensorSum]:
    """Return |weight x gradient| of every tensor, the largest first.

    Parameters
    ----------
    folder
        A run of which `deeploc parameters` was asked.

    Raises
    ------
    RunError
        If the file is missing or was changed.
    """
    with folder.checked("parameters", folder.path / TABLE).open(newline="") as file:
        rows = [(r["tensor"], int(r["weights"]), float(r["sum"])) for r in csv.DictReader(file)]
    total = sum(amount for _, _, amount in rows)
    return [TensorSum(*row, row[2] / total if total else 0.0) for row in rows]
