"""Small pictures for pages."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

THUMBNAIL_SIDE = 112
"""Most pixels of the longer side of a thumbnail."""


def thumbnail(pixels: UInt8[np.ndarray, "row column 3"]) -> bytes:
    """Return a JPEG of an image, made smaller where it exceeds `THUMBNAIL_SIDE`.

    Parameters
    ----------
    pixels
        RGB, 0-255.
    """
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    image.save(file, "JPEG", quality=85, optimize=True)
    return file.getvalue()
