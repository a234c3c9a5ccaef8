"""Pictures that deeploc draws itself: six categories, no picture like another.

Colours, background, light, exposure, contrast, position and scale are drawn alike for all
categories; only what is drawn tells them apart.
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
    "faces": faces.draw,
    "bodies": bodies.draw,
    "houses": houses.draw,
    "tools": tools.draw,
    "cars": cars.draw,
    "letters": letters.draw,
}


def render(category: str, rng: random.Random, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Return a picture of one of `PAINTERS`, drawn anew, as RGB.

    Equal generators give equal pixels with the same numpy and Pillow. Another release of them
    may rasterise or blur a little differently: some pixels then differ by a few grey levels.
    Another size shows the same scene, with other grain.
    """
    palette = new_palette(rng)
    ground = background(rng, size, palette)
    canvas = Canvas.blank(size)
    placed = posed(rng, canvas, mirrors=category != "letters")
    PAINTERS[category](rng, placed, palette)
    return photographed(rng, lit(rng, canvas, ground))


def posed(rng: random.Random, canvas: Canvas, *, mirrors: bool) -> Canvas:
    """Return the canvas as the object stands in it: moved, scaled, turned, slanted, mirrored."""
    scale = between(rng, 0.6, 0.95)
    room = 1.05 - scale
    centre = between(rng, -room, room), between(rng, -room, room)
    side = -1 if chance(rng, 0.5) and mirrors else 1
    width = side * scale * between(rng, 0.88, 1.0)
    turn, slant = between(rng, -0.25, 0.25), between(rng, -0.12, 0.12)
    return canvas.placed(centre, (width, scale), turn=turn, slant=slant)
