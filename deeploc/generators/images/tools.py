"""Tools: hammers, wrenches, screwdrivers, saws, axes and pliers, lying in any direction."""

import math
import random

from deeploc.generators.images.canvas import Canvas, arc, shade
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one tool, in any direction; its own coordinates have the working end up.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    lying = canvas.placed((0, 0), (1.15, 1.15), turn=between(rng, -0.5, 0.5) * math.pi)
    pick(rng, (_hammer, _wrench, _screwdriver, _saw, _axe, _pliers))(rng, lying, palette)


def _hammer(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render a hammer with a claw, a peen or a second face."""
    _handle(rng, canvas, palette, -0.6)
    thick, reach = between(rng, 0.13, 0.2), between(rng, 0.38, 0.52)
    canvas.box(-0.3, -0.62 - thick, reach, -0.62 + thick, palette.second)
    canvas.box(reach - 0.16, -0.65 - thick, reach, -0.59 + thick, shade(palette.second, 0.75))
    end = pick(rng, (0.0, 0.35, -0.35))
    tip = [(-0.6, -0.62 + end), (-0.56, -0.7 + end), (-0.25, -0.62 - thick)]
    canvas.polygon([(-0.25, -0.62 + thick), *tip], shade(palette.second, 0.9))


def _axe(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render an axe with a blade on one side or on both."""
    _handle(rng, canvas, palette, -0.85)
    reach, spread = between(rng, 0.4, 0.55), between(rng, 0.28, 0.42)
    sides = (-1, 1) if chance(rng, 0.25) else (1,)
    for side in sides:
        edge = [(side * (reach + 0.12 * math.cos(a)), -0.6 + spread * math.sin(a)) for a in SWEEP]
        canvas.polygon([(-side * 0.12, -0.75), *edge, (-side * 0.12, -0.45)], palette.second)
        canvas.stroke(edge, 0.06, palette.light)


SWEEP = [math.pi * (step / 8 - 0.5) for step in range(9)]


def _handle(rng: random.Random, canvas: Canvas, palette: Palette, top: float) -> None:
    """Render a long handle that ends at ``top``, with a grip on some."""
    width = between(rng, 0.09, 0.13)
    canvas.limb((0, top), (0, 0.85), (width * 0.8, width), palette.main)
    if chance(rng, 0.5):
        canvas.limb((0, 0.35), (0, 0.86), (width * 1.15, width * 1.25), palette.accent)


def _wrench(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render a wrench: a jaw at one end, a ring, a jaw or a plain end at the other."""
    width, head = between(rng, 0.1, 0.16), between(rng, 0.28, 0.36)
    canvas.limb((0, -0.5), (0, 0.6), (width, width), palette.main)
    _jaw(canvas.placed((0, -0.6), (head, head), turn=between(rng, -0.4, 0.4)), palette)
    other = pick(rng, ("ring", "jaw", "plain"))
    if other == "jaw":
        _jaw(canvas.placed((0, 0.65), (0.8 * head, 0.8 * head), turn=math.pi), palette)
    elif other == "ring":
        ring = [*arc((0, 0.65), (0.26, 0.26)), *reversed(arc((0, 0.65), (0.13, 0.13)))]
        canvas.polygon(ring, palette.main)


def _jaw(canvas: Canvas, palette: Palette) -> None:
    """Render an open jaw of radius 1 whose mouth points up."""
    outer = arc((0, 0), (1, 1), -0.3 * math.pi, 1.3 * math.pi)
    canvas.polygon([*outer, (-0.42, -0.8), (-0.42, 0.1), (0.42, 0.1), (0.42, -0.8)], palette.main)


def _screwdriver(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render a screwdriver with a round or a ribbed handle and a flat or a pointed tip."""
    grip, neck = between(rng, 0.16, 0.23), between(rng, 0.05, 0.08)
    canvas.box(-neck, -0.85, neck, 0.2, palette.second)
    tip = neck * pick(rng, (0.3, 1.0, 2.0))
    canvas.polygon([(-neck, -0.7), (-tip, -0.98), (tip, -0.98), (neck, -0.7)], palette.second)
    canvas.limb((0, 0.25), (0, 0.75), (grip, grip * 0.9), palette.main)
    canvas.box(-grip * 0.8, 0.06, grip * 0.8, 0.16, shade(palette.main, 0.7))
    if chance(rng, 0.6):
        for x in (-0.5, 0.0, 0.5):
            canvas.stroke([(x * grip, 0.28), (x * grip, 0.8)], 0.05, palette.accent)


def _saw(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render a saw: a blade that tapers, teeth along one edge, a handle with a hole."""
    broad, narrow = between(rng, 0.3, 0.42), between(rng, 0.1, 0.25)
    teeth, right = int(between(rng, 7, 12)), 0.22
    edge = [
        (right - 0.08 * (step % 2), 0.3 - 1.25 * step / (2 * teeth))
        for step in range(2 * teeth + 1)
    ]
    canvas.polygon([(right - broad * 1.4, 0.3), *edge, (right - narrow, -0.95)], palette.main)
    canvas.limb((-0.25, 0.42), (0.1, 0.42), (0.14, 0.14), palette.second)
    canvas.limb((-0.25, 0.8), (0.1, 0.8), (0.12, 0.12), palette.second)
    canvas.limb((0.1, 0.42), (0.16, 0.8), (0.12, 0.12), palette.second)
    canvas.limb((-0.28, 0.42), (-0.25, 0.8), (0.11, 0.11), palette.second)


def _pliers(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render pliers, open or nearly shut."""
    opening, beak = between(rng, 0.1, 0.4), between(rng, 0.09, 0.16)
    for side in (-1, 1):
        half = canvas.placed((0, -0.3), turn=side * opening / 2)
        half.limb((side * 0.05, 0.0), (side * 0.07, -0.6), (beak, beak * 0.5), palette.second)
        half.stroke([(0, 0), (-side * 0.24, 0.45), (-side * 0.26, 1.1)], 0.2, palette.main)
    canvas.ellipse((0, -0.3), (0.17, 0.17), shade(palette.second, 0.8))
    canvas.ellipse((0, -0.3), (0.06, 0.06), palette.light)
