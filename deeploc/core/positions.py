"""The optional ability of an adapter to show activations at every position."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.stimuli import Stimulus

Positions = Mapping[str, Float[np.ndarray, "_ _"]]  # sites differ in size: no named axes
"""Name of a site -> the activations of one stimulus there, (position, unit)."""


@runtime_checkable
class ReadsPositions(Protocol):
    """Ability to show the activations of a stimulus before they are pooled."""

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the number of every stimulus once, with its signed activations, float32 or float64.

        Parameters
        ----------
        stimuli
            Texts or image files.
        layout
            The sites to read, a subset of those of the adapter.
        readout
            Where texts are truncated. All positions are shown in their order, those of special
            tokens too, and none of padding.
        """
        ...


@runtime_checkable
class PositionAccumulator(Protocol):
    """Takes the activations of one stimulus after the other."""

    def add(self, positions: Positions) -> None:
        """Take the activations of one stimulus.

        Parameters
        ----------
        positions
            Name of a site -> ``(position, unit)``.
        """
        ...
