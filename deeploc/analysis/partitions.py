"""Localize without a part of the stimuli: statistics, selection and preference, fold by fold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from deeploc.analysis.localization import Design, compare, significance
from deeploc.analysis.profile import has_scale
from deeploc.analysis.reading import ByCondition, Rows, Values
from deeploc.analysis.select_units import select_units
from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.selection import Indices
from deeploc.core.stats import Moments, Vector
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import deal

MIN_IN_FOLD = 2
"""Fewest stimuli of a condition in a fold: a variance needs two."""

_SLICE = 2048
"""Units at once: memory does not depend on how many there are, and matrix products are fast."""

Matrix = Float64[np.ndarray, "stimulus unit"]
Maps = Float64[np.ndarray, "fold unit"]


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
        rows: Rows = np.flatnonzero(self.groups.owners == self.groups.names.index(condition))
        return rows

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
        adjacent = units[-1] - units[0] == len(units) - 1
        chosen = self.values[:, slice(units[0], units[-1] + 1) if adjacent else units]
        response = chosen.astype(np.float64)
        if self.contrast.read.response == "abs":
            np.abs(response, out=response)
        return response


def parts(units: Indices) -> Iterator[Indices]:
    """Yield the units in slices of a size that fits into a processor's cache.

    Parameters
    ----------
    units
        Their indices.
    """
    for start in range(0, len(units), _SLICE):
        yield units[start : start + _SLICE]


@dataclass
class Partition:
    """The stimuli in ``n`` folds, and t and df of every unit without each of them.

    Without one of two folds means in the other, so that two folds are split halves.

    Parameters
    ----------
    responses
        The responses to the stimuli.
    folds
        The fold of every stimulus.
    n
        How many folds.
    """

    responses: Responses
    folds: Rows
    n: int
    t: Maps = field(init=False)
    df: Maps = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.n, self.responses.layout.n_units)
        self.t, self.df = np.empty(shape), np.empty(shape)

    @classmethod
    def of(
        cls, responses: Responses, stimuli: Mapping[str, Sequence[Stimulus]], n: int, seed: int
    ) -> "Partition":
        """Return a random partition of every condition; equal stimuli are in the same fold.

        Parameters
        ----------
        responses
            The responses to the stimuli.
        stimuli
            Condition -> its stimuli.
        n
            How many folds; another number deals otherwise.
        seed
            The seed of the run.

        Raises
        ------
        ValueError
            If a fold has too few stimuli of a condition that is compared.
        """
        dealt = [deal(stimuli[name], n, seed, f"{n}:{name}") for name in responses.groups.names]
        folds = np.concatenate(dealt)
        for name in responses.compared:
            if np.bincount(folds[responses.rows(name)], minlength=n).min() < MIN_IN_FOLD:
                different = len({stimulus.content_key for stimulus in stimuli[name]})
                raise ValueError(
                    f"{n} folds need {MIN_IN_FOLD} stimuli each of condition {name!r}, which has "
                    f"{different} different ones to localize with"
                )
        return cls(responses, folds, n)

    def add(self, units: Indices, response: Matrix) -> None:
        """Compute t and df of some units.

        Parameters
        ----------
        units
            Their indices.
        response
            Their responses.
        """
        cells: dict[str, list[Moments]] = {}
        for name in self.responses.compared:
            rows = self.responses.rows(name)
            cells[name] = [Moments(len(units)) for _ in range(self.n)]
            for fold, moments in enumerate(cells[name]):
                moments.add(response[rows[self.folds[rows] == fold]])
        for left_out in range(self.n):
            others = {
                name: stats.pooled([m for fold, m in enumerate(of_name) if fold != left_out])
                for name, of_name in cells.items()
            }
            t, df, _ = compare(self.responses.contrast, others)
            self.t[left_out, units], self.df[left_out, units] = t, df

    def masks(self) -> list[UnitMask]:
        """Return what the contrast's rule selects without each fold.

        Raises
        ------
        ValueError
            If the rule asks for more units than have a t.
        """
        layout, select = self.responses.layout, self.responses.contrast.select
        unknown = np.full(layout.n_units, np.nan)  # no rule asks for d, baseline or magnitude
        masks = []
        for t, df in zip(self.t, self.df, strict=True):
            p, q = significance(layout, t, df)
            stat_map = StatMap(layout, t, df, p, q, unknown, unknown, unknown)
            masks.append(select_units(stat_map, select))
        return masks

    def preference(self, fold: int, units: Indices) -> float:
        """Return Cohen's d of the contrast in a fold, of the mean z of some units.

        Parameters
        ----------
        fold
            The fold. z is by mean and standard deviation over the stimuli outside of it.
        units
            Those that were selected without the fold.
        """
        z = self._mean_z(fold, units)
        moments = {name: Moments(1) for name in self.responses.compared}
        for name, of_name in moments.items():
            rows = self.responses.rows(name)
            of_name.add(z[rows[self.folds[rows] == fold], None])
        _, _, d = compare(self.responses.contrast, moments)
        return float(d[0])

    def _mean_z(self, fold: int, units: Indices) -> Vector:
        """Return the mean z of the units for every stimulus, nan where none has a scale."""
        total, n = np.zeros(len(self.folds)), 0
        for some in parts(units):
            response = self.responses.of(some)
            scale = Moments(len(some))
            scale.add(response[self.folds != fold])
            mean, sd = scale.mean, scale.sd
            scaled = has_scale(mean, sd)
            total += ((response - mean)[:, scaled] / sd[scaled]).sum(axis=1)
            n += int(scaled.sum())
        return total / n if n else np.full_like(total, np.nan)
