"""Damage of an ablation and of its controls on several outcomes, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, isnan, log, nan, sqrt

import numpy as np

from deeploc.core.controls import is_matched
from deeploc.core.multiplicity import empirical_p
from deeploc.core.outcomes import Outcome
from deeploc.core.results import INTACT, Better, Cell, Score
from deeploc.core.stats import ALPHA

LOGARITHMIC = frozenset({"perplexity"})
"""Metrics that are exponentials of a mean: their damage is a difference of logarithms."""

_ONE_SIDED = 1.645
"""The 95 % point of the standard normal distribution."""

Place = tuple[str, str, float, str]
"""Kind of site, mode, percentage of its units, and the mask: ``selected`` or ``top``."""


def worsening(value: float, intact: float, better: Better) -> float:
    """Return how much worse a value is than the intact one.

    A value that is no number is infinitely worse; one that stayed infinite is not worse.

    Parameters
    ----------
    value, intact
        The metric of the ablated and of the intact model.
    better
        Whether higher or lower values mean a better model.
    """
    if isnan(value):
        return inf
    if value == intact:
        return 0.0
    return value - intact if better == "lower" else intact - value


@dataclass(frozen=True)
class Damage:
    """How much worse one outcome became.

    Parameters
    ----------
    intact, ablated
        The metric of the intact and of the ablated model.
    controls
        Name of each matched random set -> the metric, in the order in which they were drawn.
    better
        Whether higher or lower values mean a better model.
    metric
        The name of the metric.
    n
        The number of items.
    chance
        What guessing scores.
    """

    intact: float
    ablated: float
    controls: Mapping[str, float]
    better: Better
    metric: str
    n: int
    chance: float = 0.0

    def of(self, value: float) -> float:
        """Return how much worse a value is than the intact one.

        In units of the metric, of its logarithm for `LOGARITHMIC` ones, see `worsening`.

        Parameters
        ----------
        value
            The metric of an ablated model.
        """
        return worsening(self._scaled(value), self._scaled(self.intact), self.better)

    @property
    def observed(self) -> float:
        """The damage of the ablated units."""
        return self.of(self.ablated)

    @property
    def null(self) -> list[float]:
        """The damage of every control."""
        return [self.of(value) for value in self.controls.values()]

    @property
    def is_measured(self) -> bool:
        """Whether the intact model has a finite value: else no damage can be told from it."""
        return isfinite(self.intact)

    @property
    def is_bounded(self) -> bool:
        """Whether guessing is the worst: not where lower is better, or some values are negative."""
        return self.better == "higher" and min([self.intact, *self.controls.values()]) >= 0

    @property
    def above_guessing(self) -> bool:
        """Whether the intact model does better than guessing does: else there is nothing to lose.

        Of a share of ``n`` items guessing reaches ``chance + 1.64 sqrt(chance (1 - chance) / n)``
        in 5 % of the cases (normal approximation of the binomial distribution). Metrics that are
        not bounded always count as above.
        """
        spread = sqrt(max(self.chance * (1 - self.chance), 0.0) / self.n)
        return not self.is_bounded or self.intact > self.chance + _ONE_SIDED * spread

    @property
    def can_suffer(self) -> bool:
        """Whether losing the ability altogether would stand out from the random sets.

        It does if the intact model is above guessing, and at most 5 % of the sets do as much
        damage as a fall to that level. Elsewhere no ablation can do more harm than random ones, and
        that it does not says nothing. Nor does it where the intact model has no finite value.
        """
        if not self.is_bounded:
            return self.is_measured
        lost = self.of(self.chance)
        as_much = sum(not damage < lost for damage in self.null)
        return self.above_guessing and as_much <= ALPHA * len(self.null)

    def z(self, damage: float) -> float:
        """Return damage beyond the mean of the controls, in their standard deviations (ddof=1).

        Where the controls hardly differ, one item (``1 / n``) is the unit: no ablation can be
        told from another by less. nan with fewer than two controls.

        Parameters
        ----------
        damage
            That of the ablated units, or of a control.
        """
        mean, sd = self._spread
        if isnan(mean):
            return nan
        if mean == inf:  # no damage is beyond infinite damage
            return 0.0 if damage == inf else -inf
        return (damage - mean) / max(sd, 1 / self.n)

    @cached_property
    def _spread(self) -> tuple[float, float]:
        """The mean and the standard deviation of the controls' damage."""
        null = np.array(self.null)
        if null.size < 2:
            return nan, nan
        if not np.isfinite(null).all():
            return inf, inf
        return float(null.mean()), float(null.std(ddof=1))

    def _scaled(self, value: float) -> float:
        if self.metric not in LOGARITHMIC or isnan(value):
            return value
        return log(value) if value > 0 else -inf


def damage_at(
    scores: Sequence[Score], place: Place, outcome: Outcome, better: Better
) -> Damage | None:
    """Return the damage on one outcome; None where intact or ablated model were not measured.

    Parameters
    ----------
    scores
        Rows of one run.
    place
        The ablation.
    outcome
        Task, metric and condition.
    better
        Whether higher or lower values of the metric are better.
    """
    rows = [row for row in scores if (row.task, row.metric, row.condition) == outcome]
    intact = next((row for row in rows if row.mask == INTACT), None)
    there = [row for row in rows if (row.sites, row.mode, row.percent) == place[:3]]
    ablated = next((row for row in there if row.mask == place[3] and not row.control_of), None)
    if intact is None or ablated is None:
        return None
    matched = [row for row in there if row.control_of == place[3] and is_matched(row.mask_kind)]
    drawn = sorted(matched, key=lambda row: row.mask_index or 0)
    controls = {row.mask: row.value for row in drawn}
    return Damage(intact.value, ablated.value, controls, better, outcome[1], intact.n)


def value_at(scores: Sequence[Score], cell: Cell, outcome: Outcome) -> float | None:
    """Return an outcome under one ablation; None where it was not measured.

    Parameters
    ----------
    scores
        Rows of one run.
    cell
        The ablation, or a control.
    outcome
        Task, metric and condition.
    """
    place = (cell.sites, cell.mode, cell.percent, cell.mask, cell.control_of)
    return next(
        (
            row.value
            for row in scores
            if (row.task, row.metric, row.condition) == outcome
            and (row.sites, row.mode, row.percent, row.mask, row.control_of) == place
        ),
        None,
    )


@dataclass(frozen=True)
class Interaction:
    """Whether one outcome suffers more than all others, against the same of every control.

    Parameters
    ----------
    difference
        z of the damage on the primary outcome minus the largest z of the others.
    p
        The share of controls (and the ablation itself) with at least as large a difference.
    worst
        The number of the other outcome with the largest z.
    n
        The number of controls.
    """

    difference: float
    p: float
    worst: int
    n: int


def interaction(primary: Damage, others: Sequence[Damage]) -> Interaction | None:
    """Compare the damage on the primary outcome with that on the others.

    ``z(primary) - max(z(other))`` of the ablated units, and the same of every control that was
    measured on all outcomes; p is that of Phipson & Smyth (2010),
    doi:10.2202/1544-6115.1585. The largest z counts, not the mean: an ablation that harms one
    other outcome as much is not specific, however many it spares.

    Parameters
    ----------
    primary
        Damage on the primary outcome.
    others
        Damage on the outcomes that must suffer less; None is returned where there are none, or
        fewer than two controls.
    """
    shared = [name for name in primary.controls if all(name in o.controls for o in others)]
    if not others or len(shared) < 2:
        return None
    ablated = [o.z(o.observed) for o in others]
    worst = int(np.argmax(ablated))
    difference = _difference(primary.z(primary.observed), ablated)
    null = [
        _difference(
            primary.z(primary.of(primary.controls[name])),
            [o.z(o.of(o.controls[name])) for o in others],
        )
        for name in shared
    ]
    return Interaction(difference, empirical_p(difference, null), worst, len(null))


def _difference(primary: float, others: Sequence[float]) -> float:
    """Return by how much the primary z exceeds the largest other; 0 where both are infinite."""
    largest = max(others)
    return 0.0 if primary == largest else primary - largest
