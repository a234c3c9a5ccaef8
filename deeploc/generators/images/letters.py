"""Letters: one to three capitals whose strokes, width, slant and serifs vary."""

import math
import random

from deeploc.generators.images.canvas import Canvas, Point, arc
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick

Strokes = tuple[tuple[Point, ...], ...]


def _bow(centre: Point, radii: Point, start: float, end: float) -> tuple[Point, ...]:
    """Return a part of an ellipse; angles in quarter turns, clockwise from right."""
    return tuple(arc(centre, radii, start * math.pi / 2, end * math.pi / 2, 10))


# Skeletons between (-1, -1), upper left, and (1, 1), lower right; no I and no O, because there are
# bars and discs in the background of every image.
LEFT: tuple[Point, ...] = ((-0.8, -1), (-0.8, 1))
RIGHT: tuple[Point, ...] = ((0.8, -1), (0.8, 1))
GLYPHS: dict[str, Strokes] = {
    "A": (((-0.9, 1), (0, -1), (0.9, 1)), ((-0.55, 0.3), (0.55, 0.3))),
    "B": (
        LEFT,
        ((-0.8, -1), *_bow((0.1, -0.52), (0.6, 0.48), -1, 1), (-0.8, -0.04)),
        ((0.1, -0.04), *_bow((0.15, 0.48), (0.68, 0.52), -1, 1), (-0.8, 1)),
    ),
    "C": (_bow((0.1, 0), (0.9, 1), 0.55, 3.45),),
    "D": (LEFT, ((-0.8, -1), *_bow((-0.1, 0), (0.9, 1), -1, 1), (-0.8, 1))),
    "E": (LEFT, ((-0.8, -1), (0.8, -1)), ((-0.8, 0), (0.6, 0)), ((-0.8, 1), (0.8, 1))),
    "F": (LEFT, ((-0.8, -1), (0.8, -1)), ((-0.8, 0), (0.6, 0))),
    "G": ((*_bow((0.1, 0), (0.9, 1), 3.45, 0.55), (0.85, 0.1), (0.2, 0.1)),),
    "H": (LEFT, RIGHT, ((-0.8, 0), (0.8, 0))),
    "J": (((0.5, -1), *_bow((-0.1, 0.45), (0.6, 0.55), 0, 2)),),
    "K": (LEFT, ((0.8, -1), (-0.8, 0.2)), ((-0.2, -0.2), (0.85, 1))),
    "L": (LEFT, ((-0.8, 1), (0.8, 1))),
    "M": (((-0.9, 1), (-0.8, -1), (0, 0.5), (0.8, -1), (0.9, 1)),),
    "N": (((-0.8, 1), (-0.8, -1), (0.8, 1), (0.8, -1)),),
    "P": (LEFT, ((-0.8, -1), *_bow((0.1, -0.45), (0.7, 0.55), -1, 1), (-0.8, 0.1))),
    "Q": (_bow((0, 0), (0.9, 1), 0, 4), ((0.3, 0.5), (0.9, 1.1))),
    "R": (
        LEFT,
        ((-0.8, -1), *_bow((0.1, -0.48), (0.7, 0.52), -1, 1), (-0.8, 0.04)),
        ((0, 0.04), (0.85, 1)),
    ),
    "S": ((*_bow((0, -0.5), (0.75, 0.5), -0.3, -3), *_bow((0, 0.5), (0.8, 0.5), -1, 1.7)),),
    "T": (((-0.9, -1), (0.9, -1)), ((0, -1), (0, 1))),
    "U": (((-0.8, -1), *_bow((0, 0.3), (0.8, 0.7), 2, 0), (0.8, -1)),),
    "V": (((-0.9, -1), (0, 1), (0.9, -1)),),
    "W": (((-1, -1), (-0.5, 1), (0, -0.5), (0.5, 1), (1, -1)),),
    "X": (((-0.8, -1), (0.8, 1)), ((0.8, -1), (-0.8, 1))),
    "Y": (((-0.85, -1), (0, 0), (0.85, -1)), ((0, 0), (0, 1))),
    "Z": (((-0.8, -1), (0.8, -1), (-0.8, 1), (0.8, 1)),),
}


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one letter or a string of two or three.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    number = pick(rng, (1, 1, 2, 2, 3))
    half = 0.95 / number
    wide = half * between(rng, 0.6, 0.8) if number > 1 else between(rng, 0.45, 0.75)
    high = min(0.9, wide * between(rng, 1.2, 2.0))
    weight, serifs = between(rng, 0.3, 0.6), chance(rng, 0.3)
    slant = between(rng, -0.1, 0.3)
    outlined = chance(rng, 0.3)
    for place in range(number):
        glyph = GLYPHS[pick(rng, list(GLYPHS))]
        x = (2 * place + 1 - number) * half
        letter = canvas.placed((x, 0), (wide, high), slant=slant)
        if outlined:
            _write(letter, glyph, weight + 0.22, serifs, palette.second)
        _write(letter, glyph, weight, serifs, palette.main)


def _write(
    canvas: Canvas, glyph: Strokes, weight: float, serifs: bool, paint: tuple[int, int, int]
) -> None:
    """Render the strokes of one letter."""
    for line in glyph:
        canvas.stroke(line, weight, paint)
        if serifs:
            for x, y in (line[0], line[-1]):
                if abs(y) == 1:
                    canvas.stroke([(x - 0.35, y), (x + 0.35, y)], 0.6 * weight, paint)
