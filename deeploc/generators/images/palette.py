"""Colours of one image, sampled alike for every category so that none reveals the category."""

import colorsys
import random
from dataclasses import dataclass

from deeploc.generators.images.canvas import Colour
from deeploc.generators.rng import chance

Span = tuple[float, float]


@dataclass(frozen=True)
class Palette:
    """The colours of the object: its two large parts, a spot of colour, and two near-greys."""

    main: Colour
    second: Colour
    accent: Colour
    dark: Colour
    light: Colour


def between(rng: random.Random, low: float, high: float) -> float:
    """Return a uniformly distributed number.

    Parameters
    ----------
    rng
        Gives one number.
    low
        The lower end, included.
    high
        The upper end, excluded.
    """
    return low + (high - low) * rng.random()


def new_palette(rng: random.Random) -> Palette:
    """Return the colours of one object; its two large parts differ in brightness."""
    value = between(rng, 0.45, 0.95)
    other = value - between(rng, 0.25, 0.4) if value > 0.65 else value + between(rng, 0.25, 0.35)
    warm = (0.0, 0.12) if chance(rng, 0.65) else (0.0, 1.0)
    return Palette(
        main=colour(rng, warm, (0.15, 0.6), (value, value)),
        second=colour(rng, (0.0, 1.0), (0.1, 0.6), (other, other)),
        accent=colour(rng, (0.0, 1.0), (0.4, 0.9), (0.4, 0.9)),
        dark=colour(rng, (0.0, 1.0), (0.0, 0.4), (0.05, 0.2)),
        light=colour(rng, (0.0, 1.0), (0.0, 0.12), (0.85, 1.0)),
    )


def colour(rng: random.Random, hue: Span, saturation: Span, value: Span) -> Colour:
    """Return a random colour.

    Parameters
    ----------
    rng
        Gives three numbers.
    hue
        Lowest and highest hue, from 0 to 1.
    saturation
        Lowest and highest saturation, from 0 to 1.
    value
        Lowest and highest brightness, from 0 to 1.
    """
    hsv = (between(rng, *span) for span in (hue, saturation, value))
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(*hsv))
    return red, green, blue
