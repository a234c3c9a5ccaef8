"""Read activations: one pass over the stimuli feeds every accumulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from deeploc.core.adapter_plugins import ActivationSource, checked_batches
from deeploc.core.readout import Readout
from deeploc.core.stats import Moments, Vector
from deeploc.core.units import Layout
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

Values = Float[np.ndarray, "stimulus unit"]
Rows = Int[np.ndarray, " stimulus"]


@runtime_checkable
class Accumulator(Protocol):
    """Takes activations batch by batch: moments, folds, permutations, ..."""

    def add(self, rows: Rows, values: Values) -> None:
        """Take a batch.

        Parameters
        ----------
        rows
            The numbers of its stimuli among all that are read.
        values
            Their activations, ``(stimulus, unit)``.
        """
        ...


@dataclass(frozen=True)
class ByCondition:
    """The stimuli of several conditions as one list, and which condition each belongs to."""

    names: tuple[str, ...]
    stimuli: tuple[Stimulus, ...]
    owners: Int[np.ndarray, " stimulus"]

    @classmethod
    def of(cls, names: Sequence[str], stimuli: Mapping[str, Sequence[Stimulus]]) -> "ByCondition":
        """Return the stimuli of the conditions called ``names``, condition by condition.

        Parameters
        ----------
        names
            The conditions, in their order.
        stimuli
            Condition -> its stimuli.
        """
        flat = tuple(stimulus for name in names for stimulus in stimuli[name])
        sizes = [len(stimuli[name]) for name in names]
        return cls(tuple(names), flat, np.repeat(np.arange(len(names)), sizes))

    def rows(self, *names: str) -> Rows:
        """Return the numbers of the stimuli of some conditions, in their order in the list.

        Parameters
        ----------
        names
            The conditions.
        """
        rows: Rows = np.flatnonzero(np.isin(self.owners, [self.names.index(n) for n in names]))
        return rows


@dataclass
class ConditionMoments:
    """Moments of every condition (an accumulator).

    Parameters
    ----------
    groups
        The stimuli that are read.
    n_units
        How many values there are per stimulus.
    absolute
        Whether the absolute value of the activation counts.
    """

    groups: ByCondition
    n_units: int
    absolute: bool = False
    moments: dict[str, Moments] = field(init=False)

    def __post_init__(self) -> None:
        self.moments = {name: Moments(self.n_units) for name in self.groups.names}

    def add(self, rows: Rows, values: Values) -> None:
        """Take a batch, see `Accumulator`."""
        owners = self.groups.owners[rows]
        for number in np.unique(owners):
            chosen = values[owners == number]
            response = np.abs(chosen) if self.absolute else chosen
            self.moments[self.groups.names[number]].add(response)


@dataclass
class OverallMean:
    """The mean activation over all stimuli, whatever their condition (an accumulator).

    Parameters
    ----------
    n_units
        How many values there are per stimulus.
    absolute
        Whether the absolute value of the activation counts.
    """

    n_units: int
    absolute: bool = False
    count: int = field(default=0, init=False)
    total: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.n_units)

    def add(self, rows: Rows, values: Values) -> None:
        """Take a batch, see `Accumulator`."""
        self.count += len(rows)
        counted = np.abs(values) if self.absolute else values
        self.total += counted.sum(axis=0, dtype=np.float64)

    def merged(self, other: "OverallMean") -> "OverallMean":
        """Return the mean over both groups of stimuli.

        Parameters
        ----------
        other
            The mean over other stimuli.
        """
        both = OverallMean(self.n_units, self.absolute)
        both.count, both.total = self.count + other.count, self.total + other.total
        return both

    @property
    def mean(self) -> Vector:
        """``(unit,)``; nan for a unit with a non-finite activation."""
        return np.where(np.isfinite(self.total), self.total, np.nan) / self.count


def read_into(
    accumulators: Sequence[Accumulator],
    source: ActivationSource,
    stimuli: Sequence[Stimulus],
    layout: Layout,
    readout: Readout,
    *,
    on_progress: OnProgress = ignore_progress,
) -> None:
    """Read every stimulus once and give each batch to all accumulators.

    Parameters
    ----------
    accumulators
        What the activations are for.
    source
        The model.
    stimuli
        What it is shown.
    layout
        The sites that are read.
    readout
        How positions become one number.
    on_progress
        Called with the number of stimuli of each batch.
    """
    for batch in checked_batches(source, stimuli, layout, readout):
        for accumulator in accumulators:
            accumulator.add(batch.indices, batch.values)
        on_progress(len(batch.indices))
