"""The parts that all images share, whatever their category: background, light and camera."""

import math
import random

import numpy as np
from PIL import Image, ImageFilter

from deeploc.generators.images.canvas import SUPERSAMPLING, Canvas
from deeploc.generators.images.palette import Palette, between, colour
from deeploc.generators.rng import chance

GRIDS = (3, 6, 12, 24)  # cells along one axis of the layers of a texture
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def noise(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniformly distributed numbers from -1 to 1, float32.

    Parameters
    ----------
    rng
        Gives the seed.
    shape
        That of the array.

    Notes
    -----
    The raw stream of a bit generator is frozen, unlike the distributions drawn from it (NEP 19).
    """
    raw = np.random.PCG64(int(rng.random() * 2**53)).random_raw(math.prod(shape))
    return ((raw >> np.uint64(40)).astype(np.float32) / 2**23 - 1).reshape(shape)


def background(rng: random.Random, size: int, palette: Palette) -> np.ndarray:
    """Return a background (size, size, 3), float32 from 0 to 255.

    A gradient between two colours, a texture of random coarseness, and some flat shapes.

    Parameters
    ----------
    rng
        Decides what varies.
    size
        Width and height in pixels.
    palette
        The colours of the object; both ends of the gradient differ from it in brightness.
    """
    ground = _gradient(rng, size, palette) + _texture(rng, size)
    canvas = Canvas.blank(size)
    for _ in range(int(between(rng, 0, 7))):
        _clutter(rng, canvas)
    return _over(canvas, ground)


def _gradient(rng: random.Random, size: int, palette: Palette) -> np.ndarray:
    """Return a blend of two colours that both differ in brightness from the main colour."""
    brightness = max(palette.main) / 255
    span = (0.15, brightness - 0.2) if brightness > 0.7 else (brightness + 0.15, 1.0)
    ends = [np.array(colour(rng, (0, 1), (0.05, 0.5), span), np.float32) for _ in range(2)]
    share = _ramp(size, between(rng, 0, 2 * math.pi))[..., None] / 2 + np.float32(0.5)
    return ends[0] * share + ends[1] * (1 - share)


def _ramp(size: int, angle: float) -> np.ndarray:
    """Return a plane (size, size) that rises towards ``angle``, from about -1 to 1."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1
    east, south = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    plane: np.ndarray = east * axis[None, :] + south * axis[:, None]
    return plane / (abs(east) + abs(south))


def _texture(rng: random.Random, size: int) -> np.ndarray:
    """Return a smooth random pattern (size, size, 1), a sum over coarse and fine grids."""
    total = np.zeros((size, size), np.float32)
    for cells in GRIDS:
        layer = Image.fromarray(noise(rng, (cells, cells)) * np.float32(between(rng, 0, 28)))
        total += np.asarray(layer.resize((size, size), Image.Resampling.BICUBIC))
    return total[..., None]


def _clutter(rng: random.Random, canvas: Canvas) -> None:
    """Draw one meaningless shape: an ellipse, a bar or an irregular polygon."""
    paint = colour(rng, (0, 1), (0, 0.7), (0.1, 0.95))
    centre = between(rng, -1, 1), between(rng, -1, 1)
    reach = between(rng, 0.1, 0.35)
    part = canvas.placed(centre, (reach, reach), turn=between(rng, 0, 2 * math.pi))
    if chance(rng, 0.33):
        part.ellipse((0, 0), (1, between(rng, 0.3, 1)), paint)
    elif chance(rng, 0.5):
        part.stroke([(-1.6, 0), (1.6, 0)], between(rng, 0.2, 0.7), paint)
    else:
        turns = sorted(between(rng, 0, 2 * math.pi) for _ in range(5))
        part.polygon([(math.cos(turn), math.sin(turn)) for turn in turns], paint)


def _over(canvas: Canvas, ground: np.ndarray) -> np.ndarray:
    """Return the canvas laid over ``ground`` (size, size, 3), float32."""
    paint, alpha = flattened(canvas)
    laid: np.ndarray = paint + ground * (1 - alpha)
    return laid


def flattened(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Return the canvas at its final size: colour times opacity, and opacity from 0 to 1."""
    reduced = canvas.layer.convert("RGBa").reduce(SUPERSAMPLING)
    pixels = np.frombuffer(reduced.tobytes(), np.uint8).reshape(*reduced.size, 4)
    values = pixels.astype(np.float32)
    return values[..., :3], values[..., 3:] / 255


def lit(rng: random.Random, canvas: Canvas, ground: np.ndarray) -> np.ndarray:
    """Return the object lit from a side, with rounded edges and its shadow on the ground.

    Parameters
    ----------
    rng
        Decides the direction and strength of the light.
    canvas
        The object.
    ground
        The background (size, size, 3), 0 to 255.
    """
    size = len(ground)
    paint, alpha = flattened(canvas)
    angle = between(rng, 0, 2 * math.pi)
    soft = _blurred(alpha[..., 0], between(rng, 0.03, 0.06) * size)
    relief = _shifted(soft, angle, 0.05 * size) - _shifted(soft, angle, -0.05 * size)
    shading = between(rng, 0.05, 0.35) * _ramp(size, angle) - between(rng, 0.1, 0.6) * relief
    shadow = between(rng, 0.2, 0.6) * _shifted(soft, angle + math.pi, between(rng, 0, 0.08) * size)
    contour = _blurred(alpha[..., 0], 0.012 * size) * between(rng, 0, 0.5)
    ground = ground * (1 - np.maximum(shadow, contour))[..., None]
    scene: np.ndarray = paint * (1 + shading)[..., None] + ground * (1 - alpha)
    return scene


def _blurred(plane: np.ndarray, radius: float) -> np.ndarray:
    """Return a plane of values from 0 to 1 after a Gaussian blur, in steps of 1/255."""
    image = Image.fromarray((plane * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _shifted(plane: np.ndarray, angle: float, distance: float) -> np.ndarray:
    """Return the plane moved by whole pixels towards ``angle``, wrapped around at the edges."""
    right, down = round(distance * math.cos(angle)), round(distance * math.sin(angle))
    return np.roll(plane, (down, right), (0, 1))


def photographed(rng: random.Random, scene: np.ndarray) -> np.ndarray:
    """Return the scene as uint8, with random exposure, contrast and tint.

    The mean of each channel and the standard deviation of luminance are set to random values, so
    that neither reveals the category; clipping at black and white leaves small differences.

    Parameters
    ----------
    rng
        Decides exposure, contrast and tint.
    scene
        (size, size, 3), float32, 0 to 255 or beyond.
    """
    exposure, spread = between(rng, 90, 160), between(rng, 38, 58)
    target = np.array([exposure * between(rng, 0.92, 1.08) for _ in range(3)], np.float32)
    grain = noise(rng, (*scene.shape[:2], 1)) * np.float32(between(rng, 0, 14))
    pixels = scene + grain
    for _ in range(2):  # the second time makes up for what was clipped
        pixels = pixels * (target / np.maximum(pixels.mean((0, 1)), 1))
        contrast = spread / max(float((pixels @ LUMINANCE).std()), 1)
        pixels = np.clip((pixels - target) * np.float32(contrast) + target, 0, 255)
    return np.rint(pixels).astype(np.uint8)
