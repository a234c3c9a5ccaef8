"""Cars from the side: roof, length, windows, wheels and lights vary."""

import random
from dataclasses import dataclass

from deeploc.generators.images.canvas import Canvas, Point, shade
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick

SILL = 0.32  # height of the lower edge of the body


@dataclass(frozen=True)
class Shape:
    """The cabin of a type of car: corners of its foot and roof, along the length.

    ``bonnet`` and ``boot`` are the heights of the body before and behind the cabin.
    """

    foot: tuple[float, float]
    roof: tuple[float, float]
    top: float
    bonnet: float
    boot: float


SHAPES = (
    Shape((-0.62, 0.48), (-0.38, 0.18), -0.48, -0.12, -0.14),  # saloon
    Shape((-0.88, 0.42), (-0.76, 0.12), -0.5, -0.12, -0.16),  # hatchback
    Shape((-0.92, 0.45), (-0.88, 0.2), -0.5, -0.12, -0.16),  # estate
    Shape((-0.93, 0.82), (-0.92, 0.6), -0.68, -0.14, -0.2),  # van
    Shape((-0.15, 0.5), (-0.1, 0.28), -0.5, -0.16, -0.1),  # pickup
    Shape((-0.66, 0.4), (-0.3, 0.02), -0.34, -0.08, -0.1),  # sports car
)


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one car that looks to the right.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    shape = pick(rng, SHAPES)
    lift = between(rng, -0.06, 0.06)
    stretched = canvas.placed((0, 0.08), (between(rng, 0.92, 1.05), between(rng, 1.0, 1.25)))
    _cabin(rng, stretched, shape, lift, palette)
    _body(rng, stretched, shape, palette)
    _wheels(rng, stretched, palette)


def _cabin(rng: random.Random, canvas: Canvas, shape: Shape, lift: float, palette: Palette) -> None:
    """Render the roof on its pillars, with two to four windows."""
    roof_paint = palette.second if chance(rng, 0.2) else palette.main
    outer = _slab(shape, 0.0, lift)
    canvas.polygon(outer, roof_paint)
    glass = pick(rng, (palette.dark, shade(palette.second, 0.6), palette.light))
    canvas.polygon(_slab(shape, 0.07, lift), glass)
    panes = pick(rng, (2, 2, 3)) if shape.foot[1] - shape.foot[0] > 0.8 else 1
    for pane in range(1, panes):
        x = shape.roof[0] + (shape.roof[1] - shape.roof[0]) * pane / panes
        canvas.stroke([(x, shape.top + lift), (x + 0.02, shape.bonnet)], 0.06, roof_paint)


def _slab(shape: Shape, inset: float, lift: float) -> list[Point]:
    """Return the corners of the cabin, or of its glass, which is ``inset`` smaller."""
    back, front = shape.foot[0] + inset, shape.foot[1] - 1.6 * inset
    top = shape.top + lift + inset
    return [
        (back, shape.boot + 0.02),
        (shape.roof[0] + inset * 0.8, top),
        (shape.roof[1] - inset * 0.8, top),
        (front, shape.bonnet + 0.02),
    ]


def _body(rng: random.Random, canvas: Canvas, shape: Shape, palette: Palette) -> None:
    """Render the body with bumpers, lights, doors and a stripe on some."""
    nose = between(rng, 0.02, 0.12)
    hull = [
        (-0.95, shape.boot + 0.04),
        (shape.foot[0], shape.boot),
        (shape.foot[1], shape.bonnet),
        (0.88, shape.bonnet + nose),
        (0.97, shape.bonnet + nose + 0.12),
        (0.97, SILL),
        (-0.97, SILL),
    ]
    canvas.polygon(hull, palette.main)
    canvas.box(-0.97, SILL - 0.1, 0.97, SILL, shade(palette.main, 0.6))
    if chance(rng, 0.3):
        canvas.box(-0.95, 0.02, 0.95, 0.09, palette.accent)
    for x in (shape.roof[0] + 0.1, shape.roof[1] + 0.1):
        canvas.stroke([(x, shape.bonnet + 0.03), (x, SILL - 0.1)], 0.02, shade(palette.main, 0.55))
    canvas.ellipse((0.9, shape.bonnet + nose + 0.1), (0.07, 0.06), palette.light)
    canvas.box(-0.97, shape.boot + 0.08, -0.88, shape.boot + 0.2, palette.accent)
    for x in (-0.94, 0.94):
        canvas.stroke([(x, SILL - 0.08), (x * 0.9, SILL - 0.08)], 0.09, palette.second)


def _wheels(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render two wheels in their arches."""
    radius, hub = between(rng, 0.19, 0.25), between(rng, 0.35, 0.65)
    rim = pick(rng, (palette.light, palette.second, shade(palette.light, 0.7)))
    for x in (-between(rng, 0.5, 0.6), between(rng, 0.52, 0.62)):
        arch = radius * 1.18
        canvas.ellipse((x, SILL - 0.02), (arch, arch), shade(palette.main, 0.4))
        canvas.ellipse((x, SILL), (radius, radius), palette.dark)
        canvas.ellipse((x, SILL), (radius * hub, radius * hub), rim)
        canvas.ellipse((x, SILL), (radius * 0.2, radius * 0.2), palette.dark)
