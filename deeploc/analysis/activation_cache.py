"""Keep activations of the intact model, so that no stimulus is read twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from deeploc.analysis.reading import Values
from deeploc.analysis.storage import Place, allocate
from deeploc.core.adapter import Adapter, Batch
from deeploc.core.adapter_plugins import checked_batches
from deeploc.core.readout import Readout
from deeploc.core.task import Reading
from deeploc.core.units import Layout
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

KEPT_BYTES = 256 * 2**20
"""Most memory for activations that are kept because they may be needed again."""

FILE_BYTES = 4 * 2**30
"""Most room in temporary files for those that do not fit into that memory."""

Batched = Int[np.ndarray, " _"]
"""Numbers of the stimuli of one batch; batches differ in size."""


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
    """Activations of the intact model, kept where they fit: no stimulus is read twice.

    A run needs the activations of its stimuli more than once: for the statistics, for resampling
    them, for the response profile, for a probe. What does not fit into memory is kept in a
    temporary file, and what does not fit there either is read again. Whatever is asked of one of
    the ``groups`` is read for the whole group, so that the numbers do not depend on who asked
    first.

    Parameters
    ----------
    adapter
        The intact model; nothing may be ablated while it is read here.
    groups
        Lists of stimuli that are read together.
    kept_bytes
        Most memory for the activations that are kept.
    file_bytes
        Most room in temporary files for those that do not fit into it.
    """

    def __init__(
        self,
        adapter: Adapter,
        groups: Sequence[Sequence[Stimulus]],
        kept_bytes: int = KEPT_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._adapter = adapter
        self._groups = [tuple(group) for group in groups]
        self._kept: list[list[_Kept]] = [[] for _ in self._groups]
        self._free: dict[Place, int] = {"memory": kept_bytes, "file": file_bytes}

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, as they were kept where they are.

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
            yield from checked_batches(self._adapter, asked, layout, readout)
            return
        group = self._groups[number]
        kept_columns = self._find(number, layout, readout)
        if kept_columns is None and asked != group and self._place(len(group), layout):
            for _ in self._read(number, layout, readout):
                pass
            kept_columns = self._find(number, layout, readout)
        if kept_columns is not None:
            yield from _served(*kept_columns, group, asked)
        elif asked == group:
            yield from self._read(number, layout, readout)
        else:
            yield from checked_batches(self._adapter, asked, layout, readout)

    def matrix(
        self,
        stimuli: Sequence[Stimulus],
        layout: Layout,
        readout: Readout,
        *,
        on_progress: OnProgress = ignore_progress,
    ) -> Values | None:
        """Return the activations of a whole group as they are kept, None where they are not.

        Rows are in the order of the stimuli, read now unless they were before. The matrix may lie
        in a file: take its columns in parts, and do not change it.

        Parameters
        ----------
        stimuli
            One of the groups.
        layout
            The sites that are read.
        readout
            How positions become one number.
        on_progress
            Called with the number of stimuli of each batch, at once where they were read before.
        """
        asked = tuple(stimuli)
        number = next((n for n, group in enumerate(self._groups) if asked == group), None)
        if number is None or not asked:
            return None
        kept_columns = self._find(number, layout, readout)
        if kept_columns is None and self._place(len(asked), layout):
            for batch in self._read(number, layout, readout):
                on_progress(len(batch.indices))
            kept_columns = self._find(number, layout, readout)
        elif kept_columns:
            on_progress(len(asked))
        if kept_columns is None:
            return None
        kept, columns = kept_columns
        return kept.values if kept.layout.units == layout.units else kept.values[:, columns]

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

    def _find(
        self, number: int, layout: Layout, readout: Readout
    ) -> tuple[_Kept, Int[np.ndarray, " unit"]] | None:
        """Return what is kept of a group for this read-out, and which of its columns are asked."""
        for kept in self._kept[number]:
            columns = kept.columns(layout) if kept.how == _how(readout) else None
            if columns is not None:
                return kept, columns
        return None

    def _place(self, n_stimuli: int, layout: Layout) -> Place | None:
        """Return where activations of so many stimuli can be kept."""
        n_bytes = n_stimuli * layout.n_units * np.dtype(np.float32).itemsize
        return next((place for place, free in self._free.items() if n_bytes <= free), None)

    def _read(self, number: int, layout: Layout, readout: Readout) -> Iterator[Batch]:
        """Yield the batches of a whole group as they are read, and keep them where they fit."""
        group = self._groups[number]
        place = self._place(len(group), layout)
        batches: list[Batched] = []
        values: Values | None = None
        for batch in checked_batches(self._adapter, group, layout, readout):
            if place and not batches:
                values = allocate((len(group), layout.n_units), batch.values.dtype, place)
            if values is not None:
                batches.append(batch.indices)
                values[batch.indices] = batch.values
            yield batch
        if place and values is not None:
            self._kept[number].append(_Kept(layout, _how(readout), batches, values))
            self._free[place] -= values.nbytes


def not_kept(n_values: int) -> str:
    """Return why so many activations are not kept, and what to do.

    Parameters
    ----------
    n_values
        Stimuli times units.
    """
    size, most = (n_bytes / 2**30 for n_bytes in (n_values * 4, FILE_BYTES))
    return (
        f"{size:.1f} GiB of activations cannot be kept; a temporary file may hold {most:.0f} GiB, "
        "as far as the disk has room; read fewer sites, or lower --limit"
    )


def _how(readout: Readout) -> tuple[str, str, int | None]:
    return readout.pool, readout.tokens, readout.max_tokens


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
