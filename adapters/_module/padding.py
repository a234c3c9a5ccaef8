"""Which stimuli share a forward pass: any, or only those whose inputs are equally long.

What a user's function and network do with padding is not known. Two stimuli of unlike lengths
tell: where the shorter one reads otherwise beside the longer one than alone, padding is read.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deeploc.adapters._torch.batching import Indices, alike, in_order
from deeploc.adapters._torch.hooks import first_tensor
from deeploc.adapters._torch.read import eval_mode
from deeploc.adapters._torch.shape import Shape
from deeploc.core.units import Layout
from deeploc.errors import DeeplocError

from .inputs import Contents

Lengths = tuple[Shape, ...]
"""The shapes of the tensors that are made of one stimulus."""

Rows = list[dict[str, np.ndarray]]
"""Activations (position, unit) of every stimulus, by the name of the site."""

_EQUAL = 1e-3
"""Largest relative difference of activations that counts as rounding, as for models of texts."""

_FILES = 8
"""So many files are opened to see whether they are equally long; their sizes tell which."""

_REPEATS = (8, 2)
"""How often the example is repeated for a longer one; the first that the network takes."""

_log = logging.getLogger(__name__)


class Padding:
    """Tells whether a network reads padding, and makes batches without any where it does.

    Parameters
    ----------
    name
        Of the model, for the notice.
    lengths
        Returns the shapes of what is made of one stimulus.
    read
        Reads stimuli together: their activations at every position of the sites; without sites
        what the network returns for them.
    dtype
        That the network computes in.
    """

    def __init__(
        self,
        name: str,
        lengths: Callable[[str | Path], Lengths],
        read: Callable[[Contents, Layout | None], Rows],
        dtype: torch.dtype,
    ) -> None:
        self._name = name
        self._lengths_of = lengths
        self._read = read
        self._equal = max(_EQUAL, torch.finfo(dtype).eps ** 0.5)
        self._known: dict[str | Path, Lengths] = {}
        self._leaves_no_trace: set[str] = set()
        self._is_read = False
        self._mixes = False

    def batches(
        self, contents: Contents, layout: Layout | None, size: int, example: Contents
    ) -> list[Indices]:
        """Return batches of at most ``size`` stimuli: in order, unless padding is read.

        Parameters
        ----------
        contents
            Of the stimuli.
        layout
            The sites that will be read; None: the output.
        size
            Largest number of stimuli in a batch.
        example
            Contents that the network takes.
        """
        if size > 1 and len(contents) > 1:
            self.look(contents, layout, example)
        if self._is_read:
            size = 1 if self._mixes else size
            return alike([self._lengths(content) for content in contents], size)
        return in_order(len(contents), size)

    def look(self, contents: Contents, layout: Layout | None, example: Contents) -> None:
        """Find out whether padding is read at some sites; once at each of them.

        Parameters
        ----------
        contents
            Of stimuli, in case the example is of one length however often it is repeated.
        layout
            The sites; None: the output.
        example
            Contents that the network takes.
        """
        names = {""} if layout is None else {site.name for site in layout.sites}
        if self._is_read or names <= self._leaves_no_trace:
            return
        for short, long in chain(self._repeated(example), self._unlike(contents)):
            if (differs := self._differs(short, long, layout)) is None:
                continue
            if not differs:
                self._leaves_no_trace |= names
                return
            self._is_read, self._mixes = True, self._differs(short, short, layout) is not False
            _log.warning("%s", _mixes(self._name) if self._mixes else _notice(self._name))
            return

    def _repeated(self, example: Contents) -> Iterator[tuple[str | Path, str | Path]]:
        """Yield the example and a longer one, where they are made into unlike inputs."""
        words = next((content for content in example if isinstance(content, str)), None)
        if words is None:
            return
        for text in longer(words):
            try:
                unlike = self._lengths(text) != self._lengths(words)
            except Exception:  # whatever a user's function does not take
                continue
            if unlike:
                yield words, text

    def _unlike(self, contents: Contents) -> Iterator[tuple[str | Path, str | Path]]:
        """Yield a short and a long one of the stimuli, where any two are unlike."""
        if any(isinstance(content, Path) for content in contents) and len(contents) > _FILES:
            by_size = sorted(contents, key=_size)
            contents = [*by_size[: _FILES // 2], *by_size[-_FILES // 2 :]]
        each = {self._lengths(content): content for content in contents}
        ordered = sorted(each, key=lambda shapes: sum(map(prod, shapes)))
        if len(ordered) > 1:
            yield each[ordered[0]], each[ordered[-1]]

    def _differs(self, short: str | Path, long: str | Path, layout: Layout | None) -> bool | None:
        """Return whether a stimulus reads otherwise beside a longer one; None: it cannot be read.

        Where each can be read alone, but they cannot be put together, that is a yes.
        """
        try:
            (alone,) = self._read([short], layout)
            self._read([long], layout)
        except (DeeplocError, torch.OutOfMemoryError):
            return None
        except Exception:  # whatever the code of a user raises
            return None
        try:
            beside = self._read([short, long], layout)[0]
        except (DeeplocError, torch.OutOfMemoryError):
            return None
        except Exception:  # inputs of unlike lengths that are stacked, for example
            return True
        return not all(_agree(rows, beside[name], self._equal) for name, rows in alone.items())

    def _lengths(self, content: str | Path) -> Lengths:
        if content not in self._known:
            self._known[content] = self._lengths_of(content)
        return self._known[content]


def longer_pass(
    module: nn.Module, forward: Callable[[Contents], Any], example: Contents
) -> Callable[[], Any] | None:
    """Return a forward pass of a longer example of texts; None: there is none that succeeds.

    Parameters
    ----------
    module
        The network.
    forward
        Makes a pass of contents.
    example
        Contents that it takes.
    """
    texts = [content for content in example if isinstance(content, str)]
    if not texts or len(texts) < len(example):
        return None
    for each in zip(*map(longer, texts), strict=True):
        run = partial(forward, list(each))
        try:
            with eval_mode(module), torch.inference_mode():
                run()
        except Exception:  # whatever the code of a user raises beyond a context
            continue
        return run
    return None


@torch.inference_mode()
def outputs(module: nn.Module, run: Callable[[], Any]) -> Rows:
    """Return what a network returns for every stimulus, as the activations of one site.

    Parameters
    ----------
    module
        The network.
    run
        Makes the pass.
    """
    with eval_mode(module):
        tensor = first_tensor(run())
    rows: Any = [] if tensor is None else tensor.float().cpu().numpy()
    return [{"": row} for row in rows]


def longer(text: str) -> Iterator[str]:
    """Yield longer texts of the same words or letters, the longest first.

    Parameters
    ----------
    text
        One that a network takes.
    """
    yield from (between.join([text] * n) for n, between in product(_REPEATS, (" ", "")))


def _agree(alone: np.ndarray, beside: np.ndarray, equal: float) -> bool:
    if alone.shape != beside.shape:
        return False
    finite = np.isfinite(alone)
    if not np.array_equal(finite, np.isfinite(beside)):
        return False
    one, other = alone[finite].astype(np.float64), beside[finite].astype(np.float64)
    return bool(np.linalg.norm(one - other) <= equal * np.linalg.norm(one))


def _size(content: str | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _mixes(name: str) -> str:
    return (
        f"{name} reads a stimulus otherwise beside another than alone, even beside itself, so that "
        "stimuli are read one by one; let the network keep the stimuli of a batch apart"
    )


def _notice(name: str) -> str:
    return (
        f"{name} reads padding: a stimulus reads otherwise beside a longer one, so that stimuli "
        "are read in batches of equal length; to read any together let preprocess return "
        "`attention_mask`, and let forward take it where the network mixes positions"
    )
