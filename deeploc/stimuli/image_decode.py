"""Decode image files, in one place, so that every part of deeploc reads the same pixels."""

import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from deeploc.errors import ContrastError
from deeploc.stimuli.stimulus import ImageProperties

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp"),
    *(".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
"""Endings, in lower case, of the files in a folder that are images."""

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels: a larger one may be a decompression bomb."""

BACKGROUND = 128
"""The grey (0-255) behind the transparent parts of an image."""

_ORIENTATION = 0x0112
_PHOTOMETRIC = 0x0106
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROTATED = (5, 6, 7, 8)
"""Orientations that exchange width and height."""

# Classes, not Image.open, whose limit of the size belongs to the whole process. Of a JPEG with
# several images (MPO) the first is read.
_FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), PpmImagePlugin.PpmImageFile),
)

# What Pillow's parsers were observed to raise when the bytes of a file are wrong.
_DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError, RuntimeError, struct.error, zlib.error),
    Warning,
)


def decode(path: Path) -> Image.Image:
    """Return an image file in mode RGB, upright according to its EXIF orientation.

    JPEG, PNG, WebP, BMP, GIF, TIFF and PPM are recognized by their content, not by their name.
    Transparent parts become the grey `BACKGROUND`; of 16 bits the upper eight are kept; CMYK (in a
    JPEG: inverted, as Adobe's) becomes RGB by Pillow's plain formula, without colour profiles; of
    several frames the first is read.

    Raises
    ------
    ContrastError
        If the file cannot be read: empty, truncated, not an image, more than `MAX_PIXELS`, or with
        values (32-bit, floating-point) whose white is unknown.
    """
    try:
        return _decoded(path, _full_size)
    except _Unreadable as error:
        raise ContrastError(f"{path}: {error}") from None


def inspect(path: Path) -> ImageProperties | str:
    """Return the properties of an image, or the reason why `decode` would refuse it.

    The whole file is read, but a JPEG is decoded at an eighth of its size, whose pixels are the
    means of blocks of 8 x 8.
    """
    opened: list[tuple[ImageFile.ImageFile, tuple[int, int]]] = []

    def prepare(image: ImageFile.ImageFile) -> None:
        opened.append((image, image.size))  # before the draft makes it smaller
        _eighth(image)

    try:
        small = _decoded(path, prepare)
    except _Unreadable as error:
        return str(error)
    ((image, (width, height)),) = opened
    if _orientation(image) in _ROTATED:
        width, height = height, width
    return ImageProperties(width, height, float(np.asarray(small.convert("L")).mean()) / 255)


class _Unreadable(Exception):
    """The reason why a file cannot be read, to follow its name."""


def _decoded(path: Path, prepare: Callable[[ImageFile.ImageFile], None]) -> Image.Image:
    with _unreadable_errors():
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Unreadable(f"is {'a folder' if path.is_dir() else 'not a regular file'}")
        with path.open("rb") as file:
            image = _opened(file)
            prepare(image)
            image.load()
            return _upright(image, _rgb(image))


@contextmanager
def _unreadable_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _Unreadable("no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow checks the size of WebP, GIF and TIFF itself: only where its limit was lowered
        raise _Unreadable(f"is refused by Pillow's MAX_IMAGE_PIXELS: {error}") from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:
            raise _Unreadable(f"cannot be read: {error.strerror}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _Unreadable(f"is truncated or damaged: {reason}") from None


def _opened(file: IO[bytes]) -> ImageFile.ImageFile:
    """Return the image with its header read, not yet its pixels."""
    start = file.read(16)
    if not start:
        raise _Unreadable("is empty (0 bytes)")
    file.seek(0)
    for signatures, reader in _FORMATS:
        if start.startswith(signatures):
            image = reader(file)
            break
    else:
        raise _Unreadable("is not a JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _Unreadable(
            f"claims {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are decoded"
        )
    return image


def _full_size(image: ImageFile.ImageFile) -> None:
    """Decode at full size."""


def _eighth(image: ImageFile.ImageFile) -> None:
    """Decode a JPEG at an eighth of its size: every byte is still read."""
    image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))


def _rgb(image: ImageFile.ImageFile) -> Image.Image:
    narrow = _upper_byte(image) if image.mode.startswith(("I", "F")) else image
    if not narrow.has_transparency_data:
        return narrow.convert("RGB")
    background = Image.new("RGBA", narrow.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
    return Image.alpha_composite(background, narrow.convert("RGBA")).convert("RGB")


def _upper_byte(image: ImageFile.ImageFile) -> Image.Image:
    """Return 16-bit grey as 8-bit grey; Pillow's own conversion would clip instead of scaling."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise _Unreadable(
            f"holds {kind} values, whose black and white are unknown; save it with 8 or 16 bits"
        )
    values = np.asarray(image).astype(np.int64)
    transparent = image.info.get("transparency")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        values = 65535 - values  # "white is zero", which Pillow applies to 8 bits only
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    method = _UPRIGHT.get(_orientation(image))
    return rgb if method is None else rgb.transpose(method)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _DAMAGED:
        return 1  # damaged EXIF is no reason to refuse an intact image
    return orientation if isinstance(orientation, int) else 1
