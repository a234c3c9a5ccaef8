"""The optional ability of an adapter to show which part of an image its network sees."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@runtime_checkable
class ShowsImages(Protocol):
    """Ability of networks of images to show an image as it is cropped and resized for them."""

    def seen(self, path: Path) -> UInt8[np.ndarray, "row column 3"]:
        """Return the pixels of an image file as the network sees them, before normalization.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        ContrastError
            If the file cannot be read.
        """
        ...
