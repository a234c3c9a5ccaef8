"""A map of z as a picture: its colours, its outline, and where it is largest, in words."""

import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

Map = Float64[np.ndarray, "row column"]

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


def heat_png(z: Map, low: float, high: float) -> bytes:
    """Return a map as the bytes of a PNG, one pixel per place.

    Colours are those of cividis, whose lightness rises evenly and is seen alike with and without
    red-green colour blindness (Nuñez, Anderton & Renslow 2018, doi:10.1371/journal.pone.0199239).

    Parameters
    ----------
    z
        The map, finite.
    low, high
        The values of the first and the last colour.
    """
    from matplotlib import colormaps

    level = (z - low) / (high - low) if high > low else np.zeros_like(z)
    colours = colormaps["cividis"](np.clip(level, 0, 1), bytes=True)[..., :3]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "PNG", optimize=True)
    return file.getvalue()


def upper_half(z: Map) -> Bool[np.ndarray, "row column"]:
    """Return the places with at least half of the largest z; none where no z is above 0.

    Parameters
    ----------
    z
        The map.
    """
    return np.asarray((z >= z.max() / 2) & (z > 0))


def outline(inside: Bool[np.ndarray, "row column"]) -> str:
    """Return the border around some places as an SVG path, in units of places.

    Parameters
    ----------
    inside
        The places.

    Examples
    --------
    >>> outline(np.array([[False, True]]))
    'M1 0H2M1 1H2M1 0V1M2 0V1'
    """
    padded = np.pad(inside, 1)
    across = [f"M{c} {r}H{c + 1}" for r, c in _edges(padded[:, 1:-1])]
    down = [f"M{c} {r}V{r + 1}" for c, r in _edges(padded[1:-1].T)]
    return "".join([*across, *down])


def _edges(padded: Bool[np.ndarray, "line place"]) -> Iterator[tuple[int, int]]:
    """Yield (border, place) wherever a border between two lines separates in from out."""
    yield from ((int(r), int(c)) for r, c in np.argwhere(padded[1:] != padded[:-1]))


def place_of_largest(z: Map) -> str:
    """Return in which ninth of the image the largest z is; empty where all are equal.

    Parameters
    ----------
    z
        The map.

    Examples
    --------
    >>> place_of_largest(np.array([[0.0, 2.0], [0.0, 0.0]]))
    'upper right'
    """
    if z.max() == z.min():
        return ""
    row, column = np.unravel_index(int(z.argmax()), z.shape)
    down = _ROWS[int(3 * (row + 0.5) / z.shape[0])]
    across = _COLUMNS[int(3 * (column + 0.5) / z.shape[1])]
    if (down, across) == ("middle", "centre"):
        return "centre"
    return f"{down} {across}"
