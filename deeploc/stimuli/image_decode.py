"""Decode image files, in one place, so that every part of deeploc sees the same picture."""

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
from deeploc.stimuli.stimulus import Look

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp"),
    *(".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
"""Endings, in lower case, by which files in a folder are taken for images."""

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels: more is a decompression bomb, or no stimulus."""

BACKGROUND = 128
"""The grey (0-255) that shows through where an image is transparent."""

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
_LYING = (5, 6, 7, 8)
"""Orientations that exchange width and height."""

# Classes, not Image.open: that one judges the size by a limit that belongs to the whole process.
# A JPEG that holds several pictures (MPO) begins with the first of them.
_FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), PpmImagePlugin.PpmImageFile),
)

# Whatever Pillow's parsers were seen to raise when the bytes of a file are wrong.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError, RuntimeError, struct.error, zlib.error),
    Warning,
)


def decode(path: Path) -> Image.Image:
    """Return the picture in an image file in mode RGB, upright as its EXIF orientation says.

    JPEG, PNG, WebP, BMP, GIF, TIFF and PPM are told by their content, not by their name. What is
    transparent shows the grey `BACKGROUND`; of 16 bits the upper eight are kept; CMYK (in a JPEG:
    inverted, as Adobe's) becomes RGB by Pillow's plain formula, without colour profiles; of
    several frames the first is taken.

    Raises
    ------
    ContrastError
        If the file cannot be read: empty, truncated, no image, more than `MAX_PIXELS`, or with
        values (32-bit, floating-point) of which nobody can tell what is white.
    """
    try:
        return _decoded(path, _whole)
    except _Unreadable as fault:
        raise ContrastError(f"{path}: {fault}") from None


def glance(path: Path) -> Look | str:
    """Return what an image is like, or why `decode` would refuse it; reads all of it, but cheaply.

    A JPEG is decoded at an eighth of its size, whose pixels are the means of blocks of 8 x 8.
    """
    opened: list[tuple[ImageFile.ImageFile, tuple[int, int]]] = []

    def prepare(image: ImageFile.ImageFile) -> None:
        opened.append((image, image.size))  # before the draft makes it smaller
        _eighth(image)

    try:
        small = _decoded(path, prepare)
    except _Unreadable as fault:
        return str(fault)
    ((image, (width, height)),) = opened
    if _orientation(image) in _LYING:
        width, height = height, width
    return Look(width, height, float(np.asarray(small.convert("L")).mean()) / 255)


class _Unreadable(Exception):
    """Why a file is no stimulus."""


def _decoded(path: Path, prepare: Callable[[ImageFile.ImageFile], None]) -> Image.Image:
    with _reasons():
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Unreadable(f"is {'a folder' if path.is_dir() else 'no regular file'}")
        with path.open("rb") as file:
            image = _opened(file)
            prepare(image)
            image.load()
            return _upright(image, _rgb(image))


@contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _Unreadable("no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow judges WebP, GIF and TIFF itself, too: only where its limit has been lowered
        raise _Unreadable(f"is refused by Pillow's MAX_IMAGE_PIXELS: {error}") from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.strerror:
            raise _Unreadable(f"cannot be read: {error.strerror}") from None
        said = " ".join(str(error).split()) or type(error).__name__
        raise _Unreadable(f"is truncated or damaged: {said}") from None


def _opened(file: IO[bytes]) -> ImageFile.ImageFile:
    """Return the image with its header read, not yet its pixels."""
    start = file.read(16)
    if not start:
        raise _Unreadable("is empty (0 bytes)")
    file.seek(0)
    for signatures, form in _FORMATS:
        if start.startswith(signatures):
            image = form(file)
            break
    else:
        raise _Unreadable("is no JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _Unreadable(
            f"claims {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are decoded"
        )
    return image


def _whole(image: ImageFile.ImageFile) -> None:
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
        values = 65535 - values  # "white is zero", which Pillow heeds with 8 bits only
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return 1  # broken EXIF is no reason to refuse a good picture
    return orientation if isinstance(orientation, int) else 1
