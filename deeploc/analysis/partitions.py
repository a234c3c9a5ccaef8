"""Localize without a part of the stimuli: statistics, selection and preference, fold by fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from deeploc.analysis.comparing import (
    Matrix,
    UnitStatistics,
    adjusted,
    compare,
    needs_activations,
    of_moments,
    of_responses,
)
from deeploc.analysis.group_means import has_scale
from deeploc.analysis.reading import Rows
from deeploc.analysis.responses import Responses, parts
from deeploc.analysis.select_units import select_units
from deeploc.core import stats
from deeploc.core.selection import Indices
from deeploc.core.stats import Moments, Vector
from deeploc.core.units import StatMap, UnitMask
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import deal, inseparable

MIN_IN_FOLD = 2
"""Fewest stimuli of a condition in a fold: a variance needs two."""

Maps = Float64[np.ndarray, "fold unit"]


@dataclass
class Partition:
    """The stimuli in ``n`` folds, and the contrast's statistics of every unit without each.

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
    p: Maps = field(init=False)
    df: Maps = field(init=False)
    d: Maps = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.n, self.responses.layout.n_units)
        self.t, self.p, self.df, self.d = (np.empty(shape) for _ in range(4))

    @classmethod
    def of(
        cls, responses: Responses, stimuli: Mapping[str, Sequence[Stimulus]], n: int, seed: int
    ) -> "Partition":
        """Return a random partition of every condition; equal stimuli and partners stay together.

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
        kept_together = inseparable(stimuli, responses.contrast.paired)
        dealt = [
            deal(keys, n, seed, f"{n}:{stream}")
            for keys, stream in map(kept_together.__getitem__, responses.groups.names)
        ]
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
        """Compute the statistics of some units.

        Parameters
        ----------
        units
            Their indices.
        response
            Their responses.
        """
        if needs_activations(self.responses.contrast):
            self._add_activations(units, response)
            return
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
            self._keep(left_out, units, of_moments(self.responses.contrast, others))

    def _add_activations(self, units: Indices, response: Matrix) -> None:
        for left_out in range(self.n):
            rows = {name: self.responses.rows(name) for name in self.responses.compared}
            rows = {name: r[self.folds[r] != left_out] for name, r in rows.items()}
            self._keep(left_out, units, of_responses(self.responses.contrast, response, rows))

    def _keep(self, left_out: int, units: Indices, computed: UnitStatistics) -> None:
        for name, vector in computed._asdict().items():
            getattr(self, name)[left_out, units] = vector

    def masks(self) -> list[UnitMask]:
        """Return what the contrast's rule selects without each fold.

        Raises
        ------
        ValueError
            If the rule asks for more units than have a t.
        """
        layout, select = self.responses.layout, self.responses.contrast.select
        unknown = np.full(layout.n_units, np.nan)  # no rule asks for baseline or magnitude
        masks = []
        for t, df, p, d in zip(self.t, self.df, self.p, self.d, strict=True):
            q = adjusted(layout, p, select.correction)
            stat_map = StatMap(layout, t, df, p, q, d, unknown, unknown)
            masks.append(select_units(stat_map, select))
        return masks

    def preference(self, fold: int, units: Indices) -> float:
        """Return Cohen's d of the contrast in a fold, of the mean z of some units.

        With ``against: each`` that of the comparison with the smallest Welch's t, whatever the
        statistic: a mean z of 0 is no natural zero that a selectivity index could refer to.

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
