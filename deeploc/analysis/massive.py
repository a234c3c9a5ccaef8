"""Look for massive activations, on a few of the stimuli that localize."""

from collections.abc import Sequence

import numpy as np

from deeploc.core.adapter import Adapter
from deeploc.core.magnitudes import Magnitudes
from deeploc.core.massive import MassiveActivations
from deeploc.core.positions import PositionAccumulator, ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.scalars import values_of_units
from deeploc.core.units import Layout
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

N_STIMULI = 24
"""So many stimuli are enough: massive activations are nearly the same whatever the input is."""


def massive_activations(
    adapter: Adapter,
    stimuli: Sequence[Stimulus],
    layout: Layout,
    readout: Readout,
    *,
    also: Sequence[PositionAccumulator] = (),
    on_progress: OnProgress = ignore_progress,
) -> MassiveActivations:
    """Return which units of a model are massive, see `deeploc.core.massive`.

    Every position is read, those of special tokens too, and not pooled.

    Parameters
    ----------
    adapter
        The model; where it cannot show positions (`ReadsPositions`), the reason is returned.
    stimuli
        Those that localize; `N_STIMULI` of them are read, evenly spaced.
    layout
        The sites.
    readout
        Where texts are truncated.
    also
        What else takes the activations of every scalar, so that they are read once.
    on_progress
        Called with the number of stimuli as they are read.

    Raises
    ------
    AdapterError
        If a stimulus cannot be read.
    """
    if not isinstance(adapter, ReadsPositions):
        return MassiveActivations(missing="the adapter of this model cannot show single positions")
    magnitudes = Magnitudes(layout)
    for _, positions in adapter.positions(evenly_spaced(stimuli), layout.scalars(), readout):
        magnitudes.add(values_of_units(layout, positions))
        for accumulator in also:
            accumulator.add(positions)
        on_progress(1)
    return magnitudes.massive()


def evenly_spaced(stimuli: Sequence[Stimulus], n: int = N_STIMULI) -> list[Stimulus]:
    """Return ``n`` of the stimuli at even distances, or all where there are not more.

    Parameters
    ----------
    stimuli
        Condition after condition, so that every condition has its share.
    n
        How many.
    """
    chosen = np.unique(np.linspace(0, len(stimuli) - 1, min(n, len(stimuli))).round().astype(int))
    return [stimuli[i] for i in chosen]
