"""Houses: floors, windows, doors, roofs, chimneys and a side wall vary."""

import random
from dataclasses import dataclass

from deeploc.generators.images.canvas import Canvas, shade
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick

GROUND = 0.85  # height of the ground line


@dataclass(frozen=True)
class Front:
    """The front wall of a house: its left, right and upper edges, and its floors."""

    left: float
    right: float
    top: float
    floors: int

    @property
    def width(self) -> float:
        """The width of the wall."""
        return self.right - self.left

    @property
    def storey(self) -> float:
        """The height of one floor."""
        return (GROUND - self.top) / self.floors


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one house.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    floors, depth = pick(rng, (1, 1, 2, 2, 3)), pick(rng, (0.0, 0.0, 0.3, 0.45))
    half = between(rng, 0.5, 0.8) if floors > 1 else between(rng, 0.7, 0.88)
    top = GROUND - floors * between(rng, 0.42, 0.52) - (0.15 if floors == 1 else 0.0)
    front = Front(-half, half - depth * 0.8, top, floors)
    pick(rng, (_gable, _ridge, _ridge, _hip, _flat))(rng, canvas, front, depth, palette)
    if depth:
        _side(canvas, front, depth, palette)
    canvas.box(front.left, front.top, front.right, GROUND, palette.main)
    _openings(rng, canvas, front, palette)


def _side(canvas: Canvas, front: Front, depth: float, palette: Palette) -> None:
    """Render the side wall, in shade, with its windows."""
    x, end, rise = front.right, front.right + depth, 0.12 * depth / 0.3
    wall = [(x, front.top), (end, front.top + rise / 2), (end, GROUND - rise), (x, GROUND)]
    canvas.polygon(wall, shade(palette.main, 0.65))
    for floor in range(front.floors):
        y = front.top + (floor + 0.35) * front.storey
        canvas.box(x + 0.3 * depth, y, x + 0.7 * depth, y + 0.4 * front.storey, palette.dark)


def _openings(rng: random.Random, canvas: Canvas, front: Front, palette: Palette) -> None:
    """Render the windows of every floor and the door."""
    columns = pick(rng, (2, 3, 3, 4)) if front.width > 0.9 else pick(rng, (2, 2, 3))
    door = int(rng.random() * columns)
    pane = pick(rng, (palette.dark, palette.dark, shade(palette.second, 0.6), palette.light))
    frame = pick(rng, (palette.light, palette.second, palette.accent))
    pitch, tall = front.width / columns, between(rng, 0.4, 0.6) * front.storey
    wide = pitch * between(rng, 0.4, 0.65)
    bars = chance(rng, 0.6)
    for floor in range(front.floors):
        for column in range(columns):
            x = front.left + (column + 0.5) * pitch - wide / 2
            y = front.top + (floor + 0.5) * front.storey - tall / 2
            if floor == front.floors - 1 and column == door:
                _entrance(canvas, x, y, wide, palette)
            else:
                _window(canvas, (x, y, x + wide, y + tall), (frame, pane), bars)


def _window(
    canvas: Canvas,
    edges: tuple[float, float, float, float],
    colours: tuple[tuple[int, int, int], tuple[int, int, int]],
    bars: bool,
) -> None:
    """Render one window in its frame, with a cross of bars or without."""
    left, top, right, bottom = edges
    frame, pane = colours
    canvas.box(left - 0.03, top - 0.03, right + 0.03, bottom + 0.03, frame)
    canvas.box(left, top, right, bottom, pane)
    if bars:
        x, y = (left + right) / 2, (top + bottom) / 2
        canvas.box(x - 0.015, top, x + 0.015, bottom, frame)
        canvas.box(left, y - 0.015, right, y + 0.015, frame)


def _entrance(canvas: Canvas, x: float, y: float, wide: float, palette: Palette) -> None:
    """Render the door, down to the ground."""
    canvas.box(x - 0.04, y - 0.04, x + wide + 0.04, GROUND, palette.light)
    canvas.box(x, y, x + wide, GROUND, palette.accent)
    canvas.ellipse((x + 0.8 * wide, (y + GROUND) / 2), (0.03, 0.03), palette.light)


def _chimney(
    rng: random.Random, canvas: Canvas, front: Front, peak: float, palette: Palette
) -> None:
    """Render a chimney on two houses in three, before the roof, which covers its foot."""
    if chance(rng, 0.65):
        x = front.left + between(rng, 0.15, 0.75) * front.width
        canvas.box(x, peak - 0.12, x + 0.14, front.top, shade(palette.second, 0.7))


def _gable(
    rng: random.Random, canvas: Canvas, front: Front, depth: float, palette: Palette
) -> None:
    """Render a roof whose triangle faces the front."""
    peak = front.top - between(rng, 0.35, 0.6)
    _chimney(rng, canvas, front, peak + 0.15, palette)
    middle, over = (front.left + front.right) / 2, 0.09
    if depth:
        back = [(middle, peak), (middle + depth, peak), (front.right + depth + over, front.top)]
        canvas.polygon([*back, (front.right, front.top + 0.05)], shade(palette.second, 0.75))
    canvas.polygon(
        [
            (front.left - over, front.top + 0.05),
            (middle, peak),
            (front.right + over, front.top + 0.05),
        ],
        palette.second,
    )
    canvas.polygon(
        [(front.left, front.top), (middle, peak + 0.12), (front.right, front.top)], palette.main
    )


def _ridge(
    rng: random.Random, canvas: Canvas, front: Front, depth: float, palette: Palette
) -> None:
    """Render a roof whose slope faces the front."""
    _slope(rng, canvas, front, (depth, between(rng, 0.0, 0.12)), palette)


def _hip(rng: random.Random, canvas: Canvas, front: Front, depth: float, palette: Palette) -> None:
    """Render a roof that slopes on every side."""
    _slope(rng, canvas, front, (depth, between(rng, 0.3, 0.45) * front.width), palette)


def _slope(
    rng: random.Random,
    canvas: Canvas,
    front: Front,
    depth_and_inset: tuple[float, float],
    palette: Palette,
) -> None:
    """Render a sloping roof whose ridge is shorter than the wall by ``inset`` on either side."""
    depth, inset = depth_and_inset
    peak, over = front.top - between(rng, 0.25, 0.5), 0.08
    _chimney(rng, canvas, front, peak, palette)
    left, right = front.left + inset, front.right - inset
    eaves = front.top + 0.04
    if depth:
        end = front.right + depth + over
        canvas.polygon(
            [(right, peak), (end, eaves), (front.right, eaves)], shade(palette.main, 0.6)
        )
    corners = [(front.left - over, eaves), (left, peak), (right, peak), (front.right + over, eaves)]
    canvas.polygon(corners, palette.second)


def _flat(rng: random.Random, canvas: Canvas, front: Front, depth: float, palette: Palette) -> None:
    """Render a flat roof."""
    _chimney(rng, canvas, front, front.top - 0.1, palette)
    thick = between(rng, 0.08, 0.16)
    end = front.right + depth + 0.05
    canvas.box(front.left - 0.05, front.top - thick, end, front.top + 0.03, palette.second)
