"""Identity of a preparation written in Python: a hash of what it makes of fixed inputs.

The name of a function, or its ``repr``, does not change when its body is edited, and two lambdas
have the same. What it returns for many unlike inputs does.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from string import printable
from typing import Any

import numpy as np
import torch
from PIL import Image

from deeploc.errors import AdapterError

from .identity import structure_hash

_WORDS = [
    "the",
    "old",
    "woman",
    "near",
    "a",
    "window",
    "reads",
    "her",
    "letter",
    "while",
    "some",
    "children",
    "run",
    "through",
    "green",
    "fields",
    "and",
    "nobody",
    "knows",
    "why",
    "it",
    "rained",
    "7",
    "times",
    "before",
    "1984",
    "or",
    "who",
    "paid",
    "3.50",
    "for",
    "those",
    "apples",
]

TEXTS: tuple[str, ...] = (
    "a",
    "The bird sang.",
    "the bird sang",
    "THE BIRD SANG",
    "  two spaces before, a tab\tand\n\na blank line inside, spaces after  \n",
    'Don\'t stop: "she said" (twice), well-known [sic] #4 & 50% of $1,000.00; 2/3?',
    "0 1 2 3 4 5 6 7 8 9 10 11 99 100 123456789 -7 3.14159 1e-5 0x1F",
    "na\u00efve caf\u00e9 cafe\u0301 stra\u00dfe \ufb01ne \u2013 \u2018quoted\u2019 \u00a0 \u200b",
    "\u0395\u03bb\u03bb \u0440\u0443\u0441 \u05e2\u05d1\u05e8 \u0639\u0631\u0628 "
    "\u6f22\u5b57 \u304b\u306a \ud55c\uad6d \U0001f642",
    "e-mail: someone@example.org, https://example.org/a?b=c&d=e#f",
    "<s> </s> <pad> <unk> [CLS] [SEP] [MASK] <|endoftext|>",
    "def f(x):\n    return x ** 2  # comment",
    "vek blorp shint dax quel mab wug trone fep zorp tam lirt",
    printable,
    "donaudampfschifffahrtsgesellschaft" * 12,
    " ".join(_WORDS[i % 7] for i in range(40)),
    " ".join(_WORDS[(i * i) % len(_WORDS)] for i in range(400)),
    "",
    "   ",
)
"""Texts that differ in case, digits, punctuation, script, white space and length."""


@cache
def images() -> Mapping[str, Image.Image]:
    """Return RGB images of unlike sizes, shapes and contents by name, the same ones always."""
    noise = np.random.RandomState(0)  # a stream that NumPy keeps as it is
    row, column = np.arange(200)[:, None], np.arange(320)[None, :]
    across = (column * 255 // 319 + 0 * row).astype(np.uint8)
    down = (row * 255 // 199 + 0 * column).astype(np.uint8)
    stripes = np.zeros((300, 120, 3), dtype=np.uint8)
    for channel in range(3):
        stripes[channel * 100 : (channel + 1) * 100, :, channel] = 255
    checks = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((16, 16))) * 255
    coarse = Image.fromarray(noise.randint(0, 256, (12, 16, 3)).astype(np.uint8))
    arrays = {
        "gradient": np.stack([across, down, 255 - across], axis=-1),
        "stripes": stripes,
        "checks": np.repeat(checks.astype(np.uint8)[:, :, None], 3, axis=2),
        "noise": noise.randint(0, 256, (256, 256, 3)).astype(np.uint8),
        "small": noise.randint(0, 256, (9, 17, 3)).astype(np.uint8),
        "tall": noise.randint(0, 256, (240, 40, 3)).astype(np.uint8),
        "grey": np.full((100, 100, 3), 128, dtype=np.uint8),
    }
    made = {name: Image.fromarray(array) for name, array in arrays.items()}
    return {**made, "large": coarse.resize((800, 600), Image.Resampling.NEAREST)}


def image_files(folder: Path) -> list[Path]:
    """Write `images` into ``folder``, without loss, and return the files."""
    files = [folder / f"{name}.png" for name in images()]
    for file, image in zip(files, images().values(), strict=True):
        image.save(file, compress_level=1)
    return files


def preparation_hash(
    prepare: Callable[[Any], Any], probes: Sequence[Any], *, name: str
) -> tuple[str, list[Any]]:
    """Return a hash of what ``prepare`` makes of ``probes``, and the probes that it takes.

    Parameters
    ----------
    prepare
        Called twice with every probe, on one thread of torch. An exception counts by its type.
    probes
        What to prepare, in a fixed order.
    name
        What ``prepare`` is called in an error.

    Raises
    ------
    AdapterError
        If the two results for a probe differ, as those of random augmentation do.
    """
    hashes, taken = [], []
    with _one_thread(), _random_state_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # independent of the filters of the process
        for probe in probes:
            first, second = (_result_hash(prepare, probe) for _ in range(2))
            if first != second:
                raise AdapterError(
                    f"{name} gives two different results for the same input ({str(probe)[:40]!r}), "
                    "so that no statistic of the model could be repeated; leave out what is "
                    "random in it, such as augmentation"
                )
            hashes.append(first)
            if not first.startswith("raises "):
                taken.append(probe)
    return structure_hash(hashes), taken


def _result_hash(prepare: Callable[[Any], Any], probe: Any) -> str:
    try:
        return structure_hash(prepare(probe))
    except Exception as error:  # what a user's function does not take belongs to its identity
        return f"raises {type(error).__module__}.{type(error).__qualname__}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, however many threads there are outside the context."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Leave the global generators of random numbers as they were before the context."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
