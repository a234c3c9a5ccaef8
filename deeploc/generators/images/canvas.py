"""Flat shapes in unit coordinates, drawn anti-aliased onto a transparent layer."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from PIL import Image, ImageDraw

SUPERSAMPLING = 4
"""Pixels of the layer per final pixel, along each axis."""

Point = tuple[float, float]
Colour = tuple[int, int, int]
Matrix = tuple[float, float, float, float, float, float]


class Canvas:
    """A layer that shapes are drawn onto, in coordinates from -1 to 1 with y pointing down.

    ``matrix`` (a, b, c, d, e, f) takes a point to pixels of the layer: x' = ax + by + c,
    y' = dx + ey + f. Shapes drawn later cover earlier ones.
    """

    def __init__(self, layer: Image.Image, matrix: Matrix) -> None:
        self.layer = layer
        self._matrix = matrix
        self._draw = ImageDraw.Draw(layer)

    @classmethod
    def blank(cls, size: int) -> "Canvas":
        """Return an empty canvas for an image of ``size`` x ``size`` pixels."""
        side = size * SUPERSAMPLING
        layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        return cls(layer, (side / 2, 0.0, side / 2, 0.0, side / 2, side / 2))

    def placed(
        self, centre: Point, scale: Point = (1.0, 1.0), *, turn: float = 0.0, slant: float = 0.0
    ) -> "Canvas":
        """Return the same layer in coordinates that are scaled, slanted, turned, then moved.

        Parameters
        ----------
        centre
            Where the new origin is.
        scale
            Size of the new units along x and y; a negative one mirrors.
        turn
            Radians, clockwise.
        slant
            How far x moves to the right per unit of height.
        """
        a, b, c, d, e, f = self._matrix
        cos, sin = math.cos(turn), math.sin(turn)
        xx, yx = cos * scale[0], sin * scale[0]
        xy, yy = -(sin + slant * cos) * scale[1], (cos - slant * sin) * scale[1]
        x, y = centre
        across = (a * xx + b * yx, a * xy + b * yy, a * x + b * y + c)
        down = (d * xx + e * yx, d * xy + e * yy, d * x + e * y + f)
        return Canvas(self.layer, (*across, *down))

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill a polygon.

        Parameters
        ----------
        points
            Its corners.
        colour
            Red, green and blue, 0 to 255.
        """
        a, b, c, d, e, f = self._matrix
        mapped = [(a * x + b * y + c, d * x + e * y + f) for x, y in points]
        self._draw.polygon(mapped, fill=(*colour, 255))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle.

        Parameters
        ----------
        left, top, right, bottom
            Its edges.
        colour
            Red, green and blue, 0 to 255.
        """
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour) -> None:
        """Fill an ellipse.

        Parameters
        ----------
        centre
            Its centre.
        radii
            Half its width and half its height.
        colour
            Red, green and blue, 0 to 255.
        """
        self.polygon(arc(centre, radii), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line with round joints and ends.

        Parameters
        ----------
        points
            The line goes through them.
        width
            Its thickness.
        colour
            Red, green and blue, 0 to 255.
        """
        for start, end in pairwise(points):
            self.limb(start, end, (width / 2, width / 2), colour)

    def limb(self, start: Point, end: Point, radii: Point, colour: Colour) -> None:
        """Fill the hull of two discs: a line that may taper, with round ends.

        Parameters
        ----------
        start, end
            The centres of the discs.
        radii
            The radii of the discs.
        colour
            Red, green and blue, 0 to 255.
        """
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        near = arc(start, (radii[0], radii[0]), angle + math.pi / 2, angle + 1.5 * math.pi, 8)
        far = arc(end, (radii[1], radii[1]), angle - math.pi / 2, angle + math.pi / 2, 8)
        self.polygon([*near, *far], colour)


def arc(
    centre: Point, radii: Point, start: float = 0.0, end: float = 2 * math.pi, steps: int = 24
) -> list[Point]:
    """Return points on an ellipse from one angle to another.

    Parameters
    ----------
    centre
        The centre of the ellipse.
    radii
        Half its width and half its height.
    start, end
        The angles in radians, clockwise from right.
    steps
        Number of segments; there is one point more.
    """
    angles = (start + (end - start) * step / steps for step in range(steps + 1))
    x, y = centre
    return [(x + radii[0] * math.cos(t), y + radii[1] * math.sin(t)) for t in angles]


def shade(colour: Colour, gain: float) -> Colour:
    """Return a colour made brighter or darker.

    Parameters
    ----------
    colour
        Red, green and blue, 0 to 255.
    gain
        What each is multiplied by, up to 255.
    """
    red, green, blue = (min(255, round(gain * channel)) for channel in colour)
    return red, green, blue
