"""Faces: shape of the head, hair, eyes, brows, nose, mouth, beard and glasses all vary."""

import math
import random
from dataclasses import dataclass

from deeploc.generators.images.canvas import Canvas, Point, arc, shade
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick


@dataclass(frozen=True)
class Head:
    """What the parts of one face share: half its width, its jaw, and the direction of its gaze."""

    width: float
    jaw: float
    yaw: float

    def outline(self, grown: float = 1.0) -> list[Point]:
        """Return the contour of the head, ``grown`` times as large."""
        points = []
        for x, y in arc((0, 0), (1, 1), steps=36):
            narrowing = 1 - self.jaw * max(y, 0.0) ** 2
            points.append((grown * self.width * x * narrowing, grown * 0.9 * y))
        return points

    def mirrored(self, x: float) -> tuple[float, float]:
        """Return the positions of a left and a right part, ``x`` from the middle of the face."""
        middle = 0.5 * self.yaw * self.width
        return middle - x * (1 + 0.4 * self.yaw), middle + x * (1 - 0.4 * self.yaw)


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one face.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    head = Head(between(rng, 0.58, 0.76), between(rng, 0.05, 0.4), between(rng, -0.35, 0.35))
    hair_length = pick(rng, (0.0, 0.0, 0.3, 0.7, 1.0))
    _behind(rng, canvas, head, palette, hair_length)
    canvas.polygon(head.outline(), palette.main)
    _beard(rng, canvas, head, palette)
    _eyes(rng, canvas, head, palette)
    _nose(rng, canvas, head, palette)
    _mouth(rng, canvas, head, palette)
    _fringe(rng, canvas, head, palette)


def _behind(
    rng: random.Random, canvas: Canvas, head: Head, palette: Palette, hair_length: float
) -> None:
    """Render what is behind the head: shoulders, neck, the back of the hair, ears."""
    if chance(rng, 0.5):
        canvas.ellipse((0, 1.35), (between(rng, 0.8, 1.1), 0.45), palette.accent)
    neck = between(rng, 0.25, 0.35)
    canvas.box(-neck, 0.5, neck, 1.1, shade(palette.main, 0.8))
    if hair_length:
        reach = head.width * between(rng, 1.15, 1.3)
        canvas.ellipse((0, -0.15), (reach, 0.88), palette.second)
        canvas.box(-reach, -0.15, reach, -0.15 + hair_length, palette.second)
    for x in (-head.width, head.width):
        canvas.ellipse((x - 0.12 * head.yaw, 0.02), (0.1, 0.17), shade(palette.main, 0.85))


def _fringe(rng: random.Random, canvas: Canvas, head: Head, palette: Palette) -> None:
    """Render the hair on the forehead, parted somewhere; some heads are bald."""
    if chance(rng, 0.12):
        return
    line, part = between(rng, -0.62, -0.38), between(rng, -0.5, 0.5)
    lift = between(rng, 0.0, 0.25)
    top = [(x, y) for x, y in head.outline(between(rng, 1.03, 1.12)) if y < line + 0.1]
    sides = [(head.width * 0.7, line), (head.width * part, line - lift), (-head.width * 0.7, line)]
    canvas.polygon([*top, *sides], palette.second)


def _eyes(rng: random.Random, canvas: Canvas, head: Head, palette: Palette) -> None:
    """Render both eyes with their brows, and glasses on some."""
    apart, y = between(rng, 0.26, 0.36) * head.width / 0.66, between(rng, -0.18, -0.06)
    radii = between(rng, 0.12, 0.17), between(rng, 0.06, 0.11)
    gaze = between(rng, -0.05, 0.05) + 0.06 * head.yaw
    iris = pick(rng, (palette.dark, palette.dark, palette.accent))
    brow_y, slope = y - between(rng, 0.17, 0.24), between(rng, -0.07, 0.07)
    thickness = between(rng, 0.05, 0.1)
    glasses = chance(rng, 0.15)
    places = head.mirrored(apart)
    for x, side in zip(places, (1, -1), strict=True):
        if glasses:
            canvas.ellipse((x, y), (0.24, 0.2), palette.dark)
            canvas.ellipse((x, y), (0.19, 0.15), shade(palette.main, 1.1))
        canvas.ellipse((x, y), radii, palette.light)
        canvas.ellipse((x + gaze, y), (radii[1] * 0.95, radii[1] * 0.95), iris)
        canvas.ellipse((x + gaze, y), (radii[1] * 0.45, radii[1] * 0.45), palette.dark)
        brow = [
            (x - 0.17, brow_y + side * slope),
            (x, brow_y - 0.04),
            (x + 0.17, brow_y - side * slope),
        ]
        canvas.stroke(brow, thickness, shade(palette.dark, 1.2))
    if glasses:
        canvas.stroke([(places[0] + 0.2, y), (places[1] - 0.2, y)], 0.05, palette.dark)


def _nose(rng: random.Random, canvas: Canvas, head: Head, palette: Palette) -> None:
    """Render the nose as its shaded side and its tip."""
    tip, width = between(rng, 0.18, 0.28), between(rng, 0.08, 0.15)
    x = 0.75 * head.yaw * head.width
    shadow = shade(palette.main, between(rng, 0.6, 0.75))
    root = (0.5 * head.yaw * head.width, -0.1)
    canvas.polygon([root, (x + width, tip), (x, tip + 0.03)], shadow)
    canvas.stroke([(x - width, tip), (x, tip + 0.04), (x + width, tip)], 0.05, shadow)


def _mouth(rng: random.Random, canvas: Canvas, head: Head, palette: Palette) -> None:
    """Render the mouth: closed, smiling or open."""
    y, width = between(rng, 0.42, 0.52), between(rng, 0.18, 0.3)
    x, bend = 0.55 * head.yaw * head.width, between(rng, -0.06, 0.14)
    corners = [(x - width, y - bend), (x, y + 0.02), (x + width, y - bend)]
    lips = shade(palette.accent, 0.75)
    if chance(rng, 0.35):
        opening = between(rng, 0.06, 0.16)
        canvas.polygon([corners[0], *reversed(arc((x, y), (width, opening), 0, math.pi))], lips)
        canvas.stroke([(x - 0.7 * width, y), (x + 0.7 * width, y)], 0.07, palette.light)
    canvas.stroke(corners, between(rng, 0.05, 0.1), lips)


def _beard(rng: random.Random, canvas: Canvas, head: Head, palette: Palette) -> None:
    """Render a beard on one face in six."""
    if chance(rng, 0.83):
        return
    top = between(rng, 0.15, 0.4)
    jaw = [(x, y) for x, y in head.outline() if y > top]
    canvas.polygon([*jaw, (0, top + 0.12)], palette.second)
