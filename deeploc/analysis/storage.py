"""Room for a matrix of activations: in memory, or in a temporary file that is mapped into it."""

import os
from tempfile import TemporaryFile
from typing import IO, Literal

import numpy as np
from jaxtyping import Float

Place = Literal["memory", "file"]

_PIECE = 1 << 20


def allocate(
    shape: tuple[int, int], dtype: np.dtype[np.floating], place: Place
) -> Float[np.ndarray, "_ _"] | None:
    """Return an array without values; None where the disk has no room for it.

    A file lies where temporary files lie (``TMPDIR``) and has no name: the system removes it with
    the array, also when the process is killed.

    Parameters
    ----------
    shape
        Its two axes.
    dtype
        The type of its elements.
    place
        ``memory`` or ``file``.
    """
    if place == "memory":
        return np.empty(shape, dtype)
    try:
        with TemporaryFile(prefix="deeploc-") as file:
            _reserve(file, shape[0] * shape[1] * dtype.itemsize)
            return np.memmap(file, dtype, mode="r+", shape=shape)
    except OSError:
        return None


def _reserve(file: IO[bytes], n_bytes: int) -> None:
    """Take the room at once: on a full disk an error now, not a crash when values are written."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return
    for start in range(0, n_bytes, _PIECE):
        file.write(bytes(min(_PIECE, n_bytes - start)))
    file.flush()
