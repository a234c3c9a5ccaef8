"""Render images of six categories, no image like another.

Colours, background, light, exposure, contrast, position and scale are sampled alike for all
categories, which differ only in the object.
"""

import random
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from deeploc.generators.images import bodies, cars, faces, houses, letters, tools
from deeploc.generators.images.canvas import Canvas
from deeploc.generators.images.palette import Palette, between, new_palette
from deeploc.generators.images.surroundings import background, lit, photographed
from deeploc.generators.rng import chance

Painter = Callable[[random.Random, Canvas, Palette], None]

PAINTERS: Mapping[str, Painter] = {
    "faces": faces.render,
    "bodies": bodies.render,
    "houses": houses.render,
    "tools": tools.render,
    "cars": cars.render,
    "letters": letters.render,
}


def render(category: str, rng: random.Random, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Return a new image as RGB.

    Equal generators give equal pixels with the same numpy and Pillow. Another release of them
    may rasterise or blur a little differently: some pixels then differ by a few grey levels.

    Parameters
    ----------
    category
        One of `PAINTERS`.
    rng
        Decides everything that varies.
    size
        Width and height in pixels; another size gives the same scene, with other grain.
    """
    palette = new_palette(rng)
    ground = background(rng, size, palette)
    canvas = Canvas.blank(size)
    placed = _posed(rng, canvas, mirrors=category != "letters")
    PAINTERS[category](rng, placed, palette)
    return photographed(rng, lit(rng, canvas, ground))


def _posed(rng: random.Random, canvas: Canvas, *, mirrors: bool) -> Canvas:
    """Return the canvas in the coordinates of the object: moved, scaled, turned, slanted."""
    scale = between(rng, 0.6, 0.95)
    room = 1.05 - scale
    centre = between(rng, -room, room), between(rng, -room, room)
    side = -1 if chance(rng, 0.5) and mirrors else 1
    width = side * scale * between(rng, 0.88, 1.0)
    turn, slant = between(rng, -0.25, 0.25), between(rng, -0.12, 0.12)
    return canvas.placed(centre, (width, scale), turn=turn, slant=slant)
