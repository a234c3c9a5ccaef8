"""controls.safetensors: the units of every control of an evaluation."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from deeploc.atomic import Buffer
from deeploc.core.results import Score
from deeploc.core.scalars import mask_of_units
from deeploc.core.units import Layout, UnitMask
from deeploc.runs.files import load_tensors, safetensors_parts

Units = Int32[np.ndarray, " _"]
"""The numbers of some units in the whole model, in rising order."""


def name_of(row: Score) -> str:
    """Return under which name the units of a control are saved.

    It is ``SITES/PERCENT/MASK/CONTROL``, e.g. ``block/1/top/random-3``: a control has the same
    units in every mode.

    Parameters
    ----------
    row
        A score of the control.
    """
    return f"{row.sites}/{row.percent:g}/{row.control_of}/{row.mask}"


class ControlMasks:
    """The units of controls, collected while they are measured.

    Parameters
    ----------
    layout
        The sites of the model that the units are numbered over.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._units: dict[str, Units] = {}

    def add(self, row: Score, mask: UnitMask) -> None:
        """Take the units of an ablation, if it is a control.

        Parameters
        ----------
        row
            A score of it.
        mask
            Its units, or every scalar of them.
        """
        if row.control_of and name_of(row) not in self._units:
            units = mask_of_units(mask, self._layout).selected
            self._units[name_of(row)] = np.flatnonzero(units).astype(np.int32)

    def keep(self, earlier: Mapping[str, Units], rows: Iterable[Score]) -> None:
        """Take those of an earlier evaluation whose scores are still current.

        Parameters
        ----------
        earlier
            The units of its controls, by name.
        rows
            The scores that are current.
        """
        current = {name_of(row) for row in rows if row.control_of}
        kept = {name: units for name, units in earlier.items() if name in current}
        self._units = {**kept, **self._units}

    def parts(self) -> Iterator[Buffer]:
        """Return the parts of the file; equal controls give equal bytes."""
        return safetensors_parts(dict(sorted(self._units.items())), self._layout)


def load_controls(path: Path) -> dict[str, Units]:
    """Return the units of every control, by the name that `name_of` gives it; none without a file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    RunError
        If it is broken.
    """
    return load_tensors(path)[0] if path.exists() else {}
