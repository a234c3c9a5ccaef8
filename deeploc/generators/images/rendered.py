"""The generator `rendered`: images are rendered once, then kept in the cache as PNG files.

NumPy and Pillow are imported when an image is rendered, not when generators are listed.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeploc.cache import cache_root
from deeploc.errors import ContrastError
from deeploc.generators.rng import new_rng, pick

if TYPE_CHECKING:
    import numpy as np

LABELS: Mapping[str, str] = {
    "faces": "face",
    "bodies": "body",
    "houses": "house",
    "tools": "tool",
    "cars": "car",
    "letters": "letter",
}
"""Category -> the label of its images."""

SIZES = (16, 512)  # smallest and largest width and height, in pixels


def held_out_images(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the path and the label of held-out images of one category, without end.

    The streams of `training_images` have other keys, so that no image is in both, whatever the
    seeds.

    Parameters
    ----------
    seed
        Decides the images.
    options
        ``category``, one of `LABELS`, and ``size``, between the two numbers in `SIZES`.

    Raises
    ------
    ContrastError
        If the cache cannot be written.
    """
    category, size = options["category"], options["size"]
    folder = cache_root() / "rendered" / renderer() / f"{category}-{size}-seed-{seed}"
    number = 0
    while True:
        path = folder / f"{number:05}.png"
        _ensure_rendered(path, (category, seed, number), size)
        yield {"image": str(path), "label": LABELS[category]}
        number += 1


def training_images(seed: int, size: int) -> Iterator[tuple["np.ndarray", str]]:
    """Yield images (size, size, 3) of all categories mixed and their labels, none held out.

    Parameters
    ----------
    seed
        Decides the images.
    size
        Width and height in pixels.
    """
    from deeploc.generators.images.scene import render

    rng = new_rng("training-rendered", seed)
    while True:
        category = pick(rng, list(LABELS))
        yield render(category, rng, size), LABELS[category]


@cache
def renderer() -> str:
    """Return a hash of everything that decides the pixels: our source code, numpy and Pillow."""
    import numpy as np
    import PIL

    package = files("deeploc.generators")
    code = [file for file in (package / "images").iterdir() if file.name.endswith(".py")]
    code += [package / "rng.py"]
    digest = hashlib.sha256(f"{np.__version__} {PIL.__version__}".encode())
    for file in sorted(code, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _ensure_rendered(path: Path, key: tuple[str, int, int], size: int) -> None:
    """Render one image unless its file exists; a file that exists is complete."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, key, size)
    except OSError as error:
        raise ContrastError(
            f"cannot keep rendered images in {path.parent}: {error.strerror or error}; set "
            "DEEPLOC_CACHE_DIR to a folder that can be written"
        ) from error


def _write(path: Path, key: tuple[str, int, int], size: int) -> None:
    from PIL import Image

    from deeploc.generators.images.scene import render

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pixels = render(key[0], new_rng("rendered", *key), size)
        Image.fromarray(pixels).save(part, format="PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
