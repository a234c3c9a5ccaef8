"""Image decoding: unusual files are read correctly or refused, for all settings of Pillow."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from deeploc.errors import ContrastError
from deeploc.stimuli import ImageProperties, image_decode

RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 13
"""Two rows of three pixels, each its own colour."""


def png(size: tuple[int, int], bits: int, colour: int, rows: bytes, *, key: bytes = b"") -> bytes:
    """Return a PNG written by hand; ``rows`` begin with a filter byte each."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    transparent = chunk(b"tRNS", key) if key else b""
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + transparent + data


def tiff(photometric: int, bits: int, data: bytes, form: int = 1) -> bytes:
    """Return a TIFF of one grey row, written by hand; ``form`` is 1 for unsigned, 3 for float."""
    width, start = len(data) * 8 // bits, 8 + 2 + 10 * 12 + 4
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: start}
    tags |= {277: 1, 278: 1, 279: len(data), 339: form}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def palette(*entries: int) -> Image.Image:
    """Return three pixels, each with its own entry of a palette of three colours."""
    image = Image.new("P", (3, 1))
    image.putpalette(entries)
    image.putdata([0, 1, 2])
    return image


def row(mode: str, *pixels: object) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def decoded(tmp_path: Path, content: bytes, name: str = "x.jpg") -> np.ndarray:
    """Return the pixels of a file of that content; it is also found readable."""
    path = tmp_path / name
    path.write_bytes(content)
    image = image_decode.decode(path)

    assert image.mode == "RGB"
    assert isinstance(image_decode.inspect(path), ImageProperties)
    return np.asarray(image)


def grey(*values: int) -> list[list[list[int]]]:
    """Return one row of grey pixels."""
    return [[[value] * 3 for value in values]]


# Read right: every value here is worked out by hand


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(Image.fromarray(RGB), "PNG"), RGB.tolist()),
        (saved(Image.fromarray(RGB), "BMP"), RGB.tolist()),
        (saved(Image.fromarray(RGB), "PPM"), RGB.tolist()),
        (saved(Image.fromarray(RGB), "TIFF", compression="tiff_lzw"), RGB.tolist()),
        (saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB.tolist()),
        (saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), [[[1, 2, 3]]]),
        (saved(row("L", 0, 77, 255), "PNG"), grey(0, 77, 255)),
        (saved(row("1", 0, 255), "PNG"), grey(0, 255)),
        # an alpha of 51 is 0.2: 0.2 * 255 + 0.8 * 128 = 153.4 and 0.2 * 0 + 0.8 * 128 = 102.4
        (saved(row("LA", (7, 0), (7, 255), (255, 51)), "PNG"), grey(128, 7, 153)),
        (
            saved(row("RGBA", (7, 8, 9, 0), (7, 8, 9, 255), (255, 0, 128, 51)), "PNG"),
            [[[128, 128, 128], [7, 8, 9], [153, 102, 128]]],
        ),
        (
            saved(palette(1, 2, 3, 4, 5, 6, 255, 0, 128), "PNG"),
            [[[1, 2, 3], [4, 5, 6], [255, 0, 128]]],
        ),
        (
            saved(palette(1, 2, 3, 4, 5, 6, 255, 0, 128), "PNG", transparency=b"\x00\xff\x33"),
            [[[128, 128, 128], [4, 5, 6], [153, 102, 128]]],
        ),
        (
            saved(palette(1, 2, 3, 4, 5, 6, 255, 0, 128), "GIF", transparency=1),
            [[[1, 2, 3], [128, 128, 128], [255, 0, 128]]],
        ),
        # 16 bits: the upper byte; clipping would give 0, 255, 255
        (png((3, 1), 16, 0, b"\0" + struct.pack(">3H", 0, 0x4DFF, 0xFFFF)), grey(0, 0x4D, 255)),
        (
            png((3, 1), 16, 0, b"\0" + struct.pack(">3H", 0, 0x4DFF, 0xFFFF), key=b"\xff\xff"),
            grey(0, 0x4D, 128),
        ),
        (
            png((2, 1), 16, 2, b"\0" + struct.pack(">6H", 0, 0x4DFF, 0xFFFF, 256, 255, 512)),
            [[[0, 0x4D, 255], [1, 0, 2]]],
        ),
        (
            png((2, 1), 16, 4, b"\0" + struct.pack(">4H", 0x4DFF, 0xFFFF, 0x4DFF, 0)),
            grey(0x4D, 128),
        ),
        (tiff(1, 16, struct.pack("<3H", 0, 0x4DFF, 0xFFFF)), grey(0, 0x4D, 255)),
        (tiff(0, 16, struct.pack("<3H", 0, 0x4DFF, 0xFFFF)), grey(255, 0xB2, 0)),
        (tiff(0, 8, bytes([0, 77, 255])), grey(255, 178, 0)),
        (b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023), grey(0, 128, 255)),
    ],
)
def test_values(tmp_path: Path, content: bytes, expected: list[list[list[int]]]) -> None:
    """Every mode and depth becomes the RGB that it means, whichever name the file has."""
    assert decoded(tmp_path, content).tolist() == expected


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_cmyk(tmp_path: Path, ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    """No ink is white and full black is black, in a TIFF and in Adobe's inverted JPEG alike."""
    image = Image.new("CMYK", (8, 8), ink)
    adobe = saved(image, "JPEG", quality=100)

    assert b"Adobe" in adobe
    assert np.abs(decoded(tmp_path, adobe).astype(int) - colour).max() <= 3
    assert (decoded(tmp_path, saved(image, "TIFF")) == colour).all()


def test_ycck(tmp_path: Path) -> None:
    """Adobe's other form, luma and chroma beside black, written byte by byte as it is stored.

    The stored (76, 85, 255) is red as ITU-R 601 defines it; as inverted ink that is cyan.
    """
    adobe = bytearray(saved(Image.new("CMYK", (8, 8), (179, 170, 0, 0)), "JPEG", quality=100))
    transform = adobe.index(b"Adobe") + 11
    assert adobe[transform] == 0
    adobe[transform] = 2

    assert np.abs(decoded(tmp_path, bytes(adobe)).astype(int) - (0, 255, 255)).max() <= 4


def test_jpeg_is_what_pillow_reads(tmp_path: Path, rng: np.random.Generator) -> None:
    """A plain JPEG, baseline or progressive, grey or in colour, has the pixels Pillow gives it."""
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    for mode in ("RGB", "L"):
        for options in ({}, {"progressive": True}, {"subsampling": 2}):
            content = saved(image.convert(mode), "JPEG", **options)
            expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

            assert np.array_equal(decoded(tmp_path, content), expected)


def test_first_of_several_frames(tmp_path: Path) -> None:
    """Of an animation or a file with several images the first is read."""
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 200, 0))
    for form in ("GIF", "WEBP", "TIFF", "MPO", "PNG"):
        several = saved(first, form, save_all=True, append_images=[second])

        assert np.abs(decoded(tmp_path, several)[0, 0].astype(int) - (200, 0, 0)).max() <= 8


UPRIGHT = {  # what is stored -> what is shown, as EXIF defines the values of the tag
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
def test_orientation(tmp_path: Path, form: str, orientation: int) -> None:
    """An image is upright according to its EXIF orientation; an unknown value is ignored."""
    stored = RGB.repeat(16, axis=0).repeat(16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}
    content = saved(Image.fromarray(stored), form, exif=exif, **lossless)
    displayed = UPRIGHT.get(orientation, UPRIGHT[1])(stored)
    tolerance = 40 if form == "JPEG" else 0

    result = decoded(tmp_path, content)

    assert result.shape == displayed.shape
    assert np.abs(result[8::16, 8::16].astype(int) - displayed[8::16, 8::16]).max() <= tolerance


def test_broken_exif_does_not_spoil_a_good_image(tmp_path: Path) -> None:
    """Metadata that cannot be parsed are ignored."""
    content = saved(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f junk")

    assert np.array_equal(decoded(tmp_path, content), RGB)


def test_threads_see_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    """Files decoded at once have the pixels they have one by one."""
    paths = [tmp_path / f"{i}.jpg" for i in range(40)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    alone = [image_decode.decode(path).tobytes() for path in paths]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: image_decode.decode(path).tobytes(), paths))

    assert together == alone


# Refused by name


def refusal(path: Path) -> str:
    """Return why a file is refused; decoding it raises the same, in one line that names it."""
    reason = image_decode.inspect(path)
    assert isinstance(reason, str)
    with pytest.raises(ContrastError) as caught:
        image_decode.decode(path)
    assert str(caught.value) == f"{path}: {reason}"
    assert "\n" not in str(caught.value)
    return reason


NOT_ONE = "is not a JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (b"a cat on a mat", NOT_ONE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_ONE),
        (b"\x89PNG", NOT_ONE),
        (
            png((50_000, 50_000), 8, 2, b""),
            "claims 50,000 x 50,000 pixels; at most 100,000,000 are decoded",
        ),
        (
            tiff(1, 32, struct.pack("<3f", 0, 0.5, 1), form=3),
            "holds floating-point values, whose black and white are unknown; save it with 8 or "
            "16 bits",
        ),
        (
            tiff(1, 32, struct.pack("<3I", 0, 1000, 7)),
            "holds signed or 32-bit values, whose black and white are unknown; save it with 8 or "
            "16 bits",
        ),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, reason: str) -> None:
    """What is not an image, or cannot be decoded, is refused in one line."""
    path = tmp_path / "x.jpg"
    path.write_bytes(content)

    assert refusal(path) == reason


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder called like an image, a file that is not there, a broken link, a pipe."""
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")

    assert refusal(tmp_path / "x.jpg") == "is a folder"
    assert refusal(tmp_path / "gone.jpg") == "no such file"
    assert refusal(tmp_path / "link.jpg") == "no such file"
    assert refusal(tmp_path / "pipe.jpg") == "is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_forbidden(tmp_path: Path) -> None:
    """A file without permission is refused with the reason of the operating system."""
    path = tmp_path / "x.png"
    path.write_bytes(saved(Image.fromarray(RGB), "PNG"))
    path.chmod(0)

    assert refusal(path) == "cannot be read: Permission denied"


FORMS: dict[str, dict[str, object]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "PPM": {},
    "TIFF": {"compression": "tiff_deflate"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated(tmp_path: Path, rng: np.random.Generator, form: str, progressive: bool) -> None:
    """A file that breaks off anywhere before its last sixteenth is refused."""
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    more = {"progressive": progressive} if form == "JPEG" else {}
    content = saved(image, form, **FORMS[form], **more)
    path = tmp_path / "x"
    for sixteenths in range(1, 16):
        path.write_bytes(content[: len(content) * sixteenths // 16])

        assert refusal(path).startswith(("is truncated or damaged: ", NOT_ONE))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures") / "x"


@given(
    form=st.sampled_from(list(FORMS)),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_bytes_crash_the_reader(
    scratch: Path, form: str, cut: float, changes: list[tuple[float, int]]
) -> None:
    """Any bytes are decoded or refused in one line, by both functions alike."""
    content = bytearray(saved(Image.fromarray(RGB.repeat(4, 0).repeat(4, 1)), form, **FORMS[form]))
    for place, value in changes:
        content[int(place * len(content))] = value
    scratch.write_bytes(content[: int(len(content) * max(cut, 0.01))])

    if isinstance(image_decode.inspect(scratch), ImageProperties):
        assert image_decode.decode(scratch).mode == "RGB"
    else:
        refusal(scratch)


# Pillow's own switches belong to the whole process


@pytest.fixture
def globals_of_pillow() -> Iterator[None]:
    """Check that nothing of Pillow is changed for anybody else."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, threading.active_count())
    yield
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, threading.active_count())
    assert after == before


@pytest.mark.usefixtures("globals_of_pillow")
@pytest.mark.parametrize("limit", [None, 1, 10**12])
def test_bombs_whatever_pillow_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """The limit is deeploc's, independent of Pillow's setting."""
    (tmp_path / "bomb.png").write_bytes(png((50_000, 50_000), 8, 2, b""))
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", limit)

        assert refusal(tmp_path / "bomb.png").startswith("claims 50,000 x 50,000 pixels")
        for form in ("JPEG", "PNG", "BMP", "PPM"):
            decoded(tmp_path, saved(Image.fromarray(RGB), form))


def test_formats_that_pillow_judges_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Pillow's limit has been lowered, its refusal is reported with the reason."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    (tmp_path / "x.webp").write_bytes(saved(Image.fromarray(RGB), "WEBP"))

    assert refusal(tmp_path / "x.webp").startswith(
        "is refused by Pillow's MAX_IMAGE_PIXELS: Image size (6 pixels) exceeds limit of 2 pixels"
    )


def test_the_limit_counts_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pixels as allowed are decoded, one row more is not."""
    monkeypatch.setattr(image_decode, "MAX_PIXELS", 6)

    assert decoded(tmp_path, saved(Image.fromarray(RGB), "PNG")).shape == (2, 3, 3)
    (tmp_path / "x.png").write_bytes(saved(Image.new("RGB", (3, 3)), "PNG"))
    assert refusal(tmp_path / "x.png") == "claims 3 x 3 pixels; at most 6 are decoded"
