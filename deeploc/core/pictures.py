"""The optional ability of an adapter of images to show what the network is shown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from deeploc.core.adapter import Adapter
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode

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


def pictures_of(adapter: Adapter, stimuli: Sequence[Stimulus]) -> Iterator[Picture]:
    """Yield images as the network is shown them, or whole where the adapter does not tell.

    Parameters
    ----------
    adapter
        The model.
    stimuli
        Image files.
    """
    if isinstance(adapter, ShowsPictures):
        yield from adapter.pictures(stimuli)
        return
    for stimulus in stimuli:
        yield np.asarray(decode(Path(stimulus.content)))
