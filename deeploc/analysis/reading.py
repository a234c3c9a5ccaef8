"""Read activations: one pass over the stimuli feeds every accumulator, and no stimulus twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from deeploc.core.adapter import Adapter, Batch
from deeploc.core.readout import Readout
from deeploc.core.stats import Moments, Vector
from deeploc.core.task import Reading
from deeploc.core.units import Layout
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

Values = Float[np.ndarray, "stimulus unit"]
Rows = Int[np.ndarray, " stimulus"]

Batched = Int[np.ndarray, " _"]
"""Numbers of the stimuli of one batch; batches differ in size."""

KEPT_BYTES = 256 * 2**20
"""Most memory for activations that are kept because they may be needed again."""


@runtime_checkable
class ActivationSource(Protocol):
    """Anything that activations are read from: an adapter, or `Readings` of one."""

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, pooled, in batches of any order.

        Parameters
        ----------
        stimuli
            What the model is shown.
        layout
            The sites that are read.
        readout
            How positions become one number.
        """
        ...


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
class SignedMean:
    """The mean signed activation over all stimuli (an accumulator)."""

    n_units: int
    count: int = 0
    total: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.n_units)

    def add(self, rows: Rows, values: Values) -> None:
        """Take a batch, see `Accumulator`."""
        self.count += len(rows)
        self.total += values.sum(axis=0, dtype=np.float64)

    @property
    def mean(self) -> Vector:
        """``(unit,)``; 0 for a unit with a non-finite activation: mean ablation silences it."""
        return np.nan_to_num(self.total / self.count, nan=0.0, posinf=0.0, neginf=0.0)


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
    for batch in source.activations(stimuli, layout, readout):
        for accumulator in accumulators:
            accumulator.add(batch.indices, batch.values)
        on_progress(len(batch.indices))


@dataclass(frozen=True)
class _Kept:
    """Activations of a whole group, in the batches in which they were read."""

    layout: Layout
    how: tuple[str, str, int | None]
    batches: Sequence[Batched]
    values: Values

    def columns(self, layout: Layout) -> Int[np.ndarray, " unit"] | None:
        """Return where the units of ``layout`` are among those that were read, if all are."""
        units = {site.name: site.n_units for site in self.layout.sites}
        if any(units.get(site.name) != site.n_units for site in layout.sites):
            return None
        spans = [self.layout.slices[site.name] for site in layout.sites]
        return np.concatenate([np.arange(span.start, span.stop) for span in spans])


class Readings:
    """Activations of the intact model, kept in memory where they fit: no stimulus is read twice.

    A run needs the activations of its stimuli more than once: for the statistics, for the response
    profile, for a probe. Whatever is asked of one of the ``groups`` is read for the whole group, so
    that the numbers do not depend on who asked first.

    Parameters
    ----------
    adapter
        The intact model; nothing may be ablated while it is read here.
    groups
        Lists of stimuli that are read together.
    kept_bytes
        Most memory for the activations that are kept.
    """

    def __init__(
        self,
        adapter: Adapter,
        groups: Sequence[Sequence[Stimulus]],
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._adapter = adapter
        self._groups = [tuple(group) for group in groups]
        self._kept: list[list[_Kept]] = [[] for _ in self._groups]
        self._free = kept_bytes

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, from memory where they are kept.

        Parameters
        ----------
        stimuli
            What the model is shown.
        layout
            The sites that are read.
        readout
            How positions become one number.
        """
        asked = tuple(stimuli)
        number = next((n for n, group in enumerate(self._groups) if _within(asked, group)), None)
        if number is None:
            yield from self._adapter.activations(asked, layout, readout)
            return
        group = self._groups[number]
        how = (readout.pool, readout.tokens, readout.max_tokens)
        for kept in self._kept[number]:
            columns = kept.columns(layout) if kept.how == how else None
            if columns is not None:
                yield from _served(kept, columns, group, asked)
                return
        if asked == group:
            yield from self._read(number, layout, readout)
        elif self._fits(len(group), layout):
            for _ in self._read(number, layout, readout):
                pass
            yield from self.activations(asked, layout, readout)
        else:
            yield from self._adapter.activations(asked, layout, readout)

    def recall(self, reading: Reading) -> Values | None:
        """Return the activations of stimuli that belong to one of the groups, else None.

        Parameters
        ----------
        reading
            Stimuli, sites and read-out; rows are in the order of the stimuli.
        """
        asked = tuple(reading.stimuli)
        if not any(_within(asked, group) for group in self._groups):
            return None
        values = np.full((len(asked), reading.layout.n_units), np.nan)
        for batch in self.activations(asked, reading.layout, reading.readout):
            values[batch.indices] = batch.values
        return values

    def _fits(self, n_stimuli: int, layout: Layout) -> bool:
        return n_stimuli * layout.n_units * np.dtype(np.float32).itemsize <= self._free

    def _read(self, number: int, layout: Layout, readout: Readout) -> Iterator[Batch]:
        """Yield the batches of a whole group as they are read, and keep them where they fit."""
        group = self._groups[number]
        fits = self._fits(len(group), layout)
        batches: list[Batched] = []
        values: Values | None = None
        for batch in self._adapter.activations(group, layout, readout):
            if fits:
                if values is None:
                    values = np.empty((len(group), layout.n_units), dtype=batch.values.dtype)
                batches.append(batch.indices)
                values[batch.indices] = batch.values
            yield batch
        if values is not None:
            how = (readout.pool, readout.tokens, readout.max_tokens)
            self._kept[number].append(_Kept(layout, how, batches, values))
            self._free -= values.nbytes


def _within(asked: tuple[Stimulus, ...], group: tuple[Stimulus, ...]) -> bool:
    return asked == group or (bool(asked) and set(asked) <= set(group))


def _served(
    kept: _Kept,
    columns: Int[np.ndarray, " unit"],
    group: tuple[Stimulus, ...],
    asked: tuple[Stimulus, ...],
) -> Iterator[Batch]:
    """Yield kept activations; those of a whole group in the very batches of the first reading."""
    if asked == group:
        for rows in kept.batches:
            yield Batch(rows, kept.values[np.ix_(rows, columns)])
        return
    places = {stimulus: row for row, stimulus in enumerate(group)}
    rows = np.array([places[stimulus] for stimulus in asked])
    yield Batch(np.arange(len(asked)), kept.values[np.ix_(rows, columns)])
