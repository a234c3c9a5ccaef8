"""The optional ability of an adapter of images to show what the network is shown."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from deeploc.stimuli import Stimulus

Picture = UInt8[np.ndarray, "row column colour"]
"""Red, green and blue, 0-255."""


@runtime_checkable
class ShowsPictures(Protocol):
    """Ability to show images as they enter the network, cropped and resized."""

    def pictures(self, stimuli: Sequence[Stimulus]) -> Iterator[Picture]:
        """Yield every image as the network is shown it, in order, without a forward pass.

        Parameters
        ----------
        stimuli
            Image files.
        """
        ...
