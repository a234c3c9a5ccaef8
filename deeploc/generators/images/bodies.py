"""Bodies without heads, as in fLoc: joints, build and clothes vary."""

import math
import random
from dataclasses import dataclass

from deeploc.generators.images.canvas import Canvas, Colour, Point, shade
from deeploc.generators.images.palette import Palette, between
from deeploc.generators.rng import chance, pick

SHOULDERS, HIPS = -0.68, 0.0  # heights
ARM, LEG = (0.38, 0.36), (0.46, 0.44)  # lengths of upper and lower part

ARMS = {  # angles of upper and lower arm from hanging, outwards, in radians
    "hanging": (0.2, 0.1),
    "akimbo": (0.75, -0.75),
    "spread": (1.4, 1.4),
    "raised": (2.2, 2.9),
    "waving": (1.2, 2.8),
}
LEGS = {
    "standing": (0.06, 0.04),
    "apart": (0.2, 0.16),
    "astride": (0.42, 0.36),
    "stepping": (0.45, -0.1),
}


@dataclass(frozen=True)
class Limb:
    """An arm or a leg: lengths and thickness of its two parts, colours from top to end."""

    lengths: tuple[float, float]
    radii: tuple[float, float, float]
    colours: tuple[Colour, Colour, Colour]

    def render(self, canvas: Canvas, start: Point, angles: tuple[float, float]) -> None:
        """Render the limb.

        Parameters
        ----------
        canvas
            Shapes are drawn onto it.
        start
            The shoulder or the hip.
        angles
            Those of the two parts, in radians, from straight down towards the right.
        """
        joint = _moved(start, angles[0], self.lengths[0])
        end = _moved(joint, angles[1], self.lengths[1])
        canvas.limb(joint, end, self.radii[1:], self.colours[1])
        canvas.limb(start, joint, self.radii[:2], self.colours[0])
        canvas.ellipse(end, (1.25 * self.radii[2], 1.25 * self.radii[2]), self.colours[2])


def _moved(start: Point, angle: float, length: float) -> Point:
    """Return the point ``length`` away, at an angle from straight down towards the right."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def render(rng: random.Random, canvas: Canvas, palette: Palette) -> None:
    """Render one body, from neck to feet.

    Parameters
    ----------
    rng
        Decides what varies.
    canvas
        Shapes are drawn onto it.
    palette
        The colours.
    """
    build = between(rng, 0.85, 1.25)
    skin, shirt = palette.main, palette.second
    trousers = pick(rng, (palette.accent, palette.accent, palette.dark, skin))
    lower_leg, lower_arm = (pick(rng, (skin, cloth)) for cloth in (trousers, shirt))
    arm = Limb(ARM, (0.1 * build, 0.075 * build, 0.055), (shirt, lower_arm, skin))
    leg = Limb(LEG, (0.145 * build, 0.1 * build, 0.07), (trousers, lower_leg, palette.dark))
    shoulder, hip = 0.25 * build, 0.13 * build
    for side, angles in zip((-1, 1), _posture(rng, LEGS), strict=True):
        leg.render(canvas, (side * hip, HIPS), (side * angles[0], side * angles[1]))
    _trunk(rng, canvas, (shoulder, 1.9 * hip), (shirt, skin, trousers))
    for side, angles in zip((-1, 1), _posture(rng, ARMS), strict=True):
        start = (side * shoulder, SHOULDERS + 0.08)
        arm.render(canvas, start, (side * angles[0], side * angles[1]))


def _posture(
    rng: random.Random, poses: dict[str, tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return the two angles of the left and of the right limb: equal for most bodies."""
    left, right = pick(rng, list(poses.values())), pick(rng, list(poses.values()))
    chosen = [left, left if chance(rng, 0.5) else right]
    return [(a + between(rng, -0.2, 0.2), b + between(rng, -0.2, 0.2)) for a, b in chosen]


def _trunk(
    rng: random.Random,
    canvas: Canvas,
    halves: tuple[float, float],
    colours: tuple[Colour, Colour, Colour],
) -> None:
    """Render neck, chest and waist, and a skirt on one body in four."""
    (shoulder, hip), (shirt, skin, trousers) = halves, colours
    canvas.limb((0, SHOULDERS - 0.16), (0, SHOULDERS), (0.085, 0.1), skin)
    waist = hip * between(rng, 0.75, 1.05)
    right = [(shoulder, SHOULDERS), (shoulder * 0.95, -0.4), (waist, -0.2), (hip, HIPS + 0.05)]
    left = [(-x, y) for x, y in reversed(right)]
    canvas.limb((-shoulder, SHOULDERS + 0.06), (shoulder, SHOULDERS + 0.06), (0.08, 0.08), shirt)
    canvas.polygon([*right, *left], shirt)
    canvas.polygon(
        [(-0.09, SHOULDERS - 0.02), (0, SHOULDERS + 0.12), (0.09, SHOULDERS - 0.02)], skin
    )
    canvas.box(-hip, HIPS - 0.06, hip, HIPS + 0.1, shade(trousers, 0.85))
    if chance(rng, 0.25):
        hem, flare = between(rng, 0.3, 0.6), hip * between(rng, 1.2, 1.9)
        canvas.polygon(
            [(-hip, HIPS - 0.06), (hip, HIPS - 0.06), (flare, hem), (-flare, hem)], trousers
        )
