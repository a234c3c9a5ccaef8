"""Rankings of units, and which units of one can be selected."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deeploc.core.units import Layout, Selection, StatMap, Vector
from deeploc.errors import MaskError


@runtime_checkable
class Ranking(Protocol):
    """One score per unit of a layout; the largest are selected first."""

    @property
    def layout(self) -> Layout:
        """The sites whose units are ranked."""
        ...

    @property
    def scores(self) -> Vector:
        """The score of every unit, ``(unit,)``; nan where a unit cannot be selected."""
        ...


@dataclass(frozen=True)
class UnitScores:
    """A ranking by any score.

    Parameters
    ----------
    layout
        The sites whose units are ranked.
    scores
        ``(unit,)``; nan where a unit cannot be selected.

    Raises
    ------
    MaskError
        If there is not one score per unit.
    """

    layout: Layout
    scores: Vector

    def __post_init__(self) -> None:
        if self.scores.shape != (self.layout.n_units,):
            raise MaskError(
                f"there are {self.scores.size} scores but the layout has "
                f"{self.layout.n_units} units"
            )

    @classmethod
    def of(cls, ranking: Ranking) -> "UnitScores":
        """Return the scores alone, where a unit that does not vary over the stimuli has 0."""
        return cls(ranking.layout, ranking.scores)


def scored(ranking: Ranking, among: Selection | None = None) -> Selection:
    """Return which units have a score.

    Parameters
    ----------
    ranking
        One score per unit.
    among
        Boolean ``(unit,)``: the units that count; default all.
    """
    finite: Selection = ~np.isnan(ranking.scores)
    return finite if among is None else finite & among


def selectable(ranking: Ranking, among: Selection | None = None) -> Selection:
    """Return which units can be selected: those that have a score, and vary over the stimuli.

    Parameters
    ----------
    ranking
        One score per unit.
    among
        Boolean ``(unit,)``: the units that count; default all.
    """
    having = scored(ranking, among)
    return having & ~ranking.constant if isinstance(ranking, StatMap) else having


def n_selectable(ranking: Ranking, among: Selection | None = None) -> int:
    """Return how many units have a score and vary over the stimuli, and so can be selected.

    Parameters
    ----------
    ranking
        One score per unit.
    among
        Boolean ``(unit,)``: the units that count; default all.
    """
    return int(selectable(ranking, among).sum())
