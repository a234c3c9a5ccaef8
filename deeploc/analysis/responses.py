"""The responses to the stimuli that localized, of some units at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from deeploc.analysis.comparing import Chosen, Design, Matrix, UnitStatistics, of_responses
from deeploc.analysis.reading import ByCondition, Rows, Values
from deeploc.contrast.model import Contrast
from deeploc.core.selection import Indices
from deeploc.core.units import Layout

_Chosen = Float64[np.ndarray, "stimulus selected"]

_SLICE = 2048
"""Units at once: memory does not depend on how many there are, and matrix products are fast."""


@dataclass(frozen=True)
class Responses:
    """The responses to the stimuli that localized, condition by condition.

    Parameters
    ----------
    contrast
        Its comparison and response.
    layout
        The sites of the units.
    groups
        The stimuli.
    values
        Their activations; may lie in a file.
    """

    contrast: Contrast
    layout: Layout
    groups: ByCondition
    values: Values

    def rows(self, condition: str) -> Rows:
        """Return the numbers of the stimuli of a condition.

        Parameters
        ----------
        condition
            Its name.
        """
        return self.groups.rows(condition)

    @property
    def compared(self) -> list[str]:
        """The conditions on either side of the comparison."""
        return [name for names in Design.of(self.contrast).samples for name in names]

    def slices(self) -> Iterator[tuple[str, Indices]]:
        """Yield (kind of site, some of its units), so that every unit comes once."""
        for kind in self.layout.kinds:
            units = np.flatnonzero(self.layout.of_kind(kind))
            yield from ((kind, part) for part in parts(units))

    def of(self, units: Indices) -> Matrix:
        """Return the responses of some units as the contrast counts them, in float64.

        Parameters
        ----------
        units
            Their indices.
        """
        return _of(self.contrast, self.values, units)


def _of(contrast: Contrast, values: Values, units: Indices) -> _Chosen:
    adjacent = units[-1] - units[0] == len(units) - 1
    chosen = values[:, slice(units[0], units[-1] + 1) if adjacent else units]
    response: _Chosen = chosen.astype(np.float64)
    if contrast.read.response == "abs":
        np.abs(response, out=response)
    return response


def of_activations(
    contrast: Contrast, values: Values, rows: Mapping[str, Chosen]
) -> UnitStatistics:
    """Return the contrast's statistic of every unit from a matrix that may lie in a file.

    Parameters
    ----------
    contrast
        Its comparison, statistic and response.
    values
        The activations, not yet absolute.
    rows
        Condition -> the numbers of its stimuli, of paired ones in one order.
    """
    n_units = values.shape[1]
    whole = UnitStatistics(*np.empty((4, n_units)))
    for units in parts(np.arange(n_units)):
        part = of_responses(contrast, _of(contrast, values, units), rows)
        for vector, numbers in zip(whole, part, strict=True):
            vector[units] = numbers
    return whole


def parts(units: Indices) -> Iterator[Indices]:
    """Yield the units in slices of a size that fits into a processor's cache.

    Parameters
    ----------
    units
        Their indices.
    """
    for start in range(0, len(units), _SLICE):
        yield units[start : start + _SLICE]
