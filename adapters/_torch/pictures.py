"""Inputs of a network as pictures: normalization is undone."""

import numpy as np
from jaxtyping import Float, UInt8

Levels = tuple[Float[np.ndarray, " colour"], Float[np.ndarray, " colour"]]
"""What the network is shown for black and for white, per colour."""


def as_picture(
    pixels: Float[np.ndarray, "row column colour"], levels: Levels | None = None
) -> UInt8[np.ndarray, "row column rgb"]:
    """Return the input of a network as red, green and blue, 0-255.

    Parameters
    ----------
    pixels
        The input; of other than three colours their mean is shown, in grey.
    levels
        Black and white; ``None``, or where both are equal: the smallest and the largest value.
    """
    black, white = levels or (pixels.min(), pixels.max())
    if not np.all(np.isfinite(white - black) & (white != black)):
        black, white = pixels.min(), pixels.max()
    span = np.where(white == black, 1.0, white - black)
    shown = np.clip(np.nan_to_num((pixels - black) / span), 0, 1)
    if shown.shape[-1] != 3:
        shown = np.repeat(shown.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.asarray(np.rint(255 * shown), dtype=np.uint8)
