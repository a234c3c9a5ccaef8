"""Batches of stimuli: which share a forward pass, and smaller ones when memory is exhausted."""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from deeploc.errors import AdapterError

Indices = Int[np.ndarray, " _"]  # batches differ in size, so the axis has no name
Result = TypeVar("Result")

PADDING = 0.02
"""The largest share of a batch that may be padding, unless the caller allows more."""

SCORED_PADDING = 0.2
"""The same where texts are scored: items of tasks are few and of many lengths, so that a little
padding costs less than many batches."""

# Positions per forward pass. On the CPU more are no faster once the weights no longer dominate
# the traffic to memory (`benchmarks/localize.py`); an accelerator needs more to be used fully.
_BUDGET = {"cpu": 1024}
_BUDGET_ELSEWHERE = 16384

# Just below the largest size that moves glibc's limit (``DEFAULT_MMAP_THRESHOLD_MAX``).
_LARGEST_KEPT = 32 * 2**20 - 2**16

SHOWN = 2**24
"""Activations that one forward pass may show without pooling: 64 MiB of float32."""

_log = logging.getLogger(__name__)


def budget(device: torch.device) -> int:
    """Return how many positions one forward pass should hold on ``device``."""
    return _BUDGET.get(device.type, _BUDGET_ELSEWHERE)


def in_order(n: int, size: int) -> list[Indices]:
    """Return batches of at most ``size`` of ``n`` stimuli, in the order of the stimuli.

    Parameters
    ----------
    n
        Number of stimuli.
    size
        Largest number of stimuli in a batch.

    Returns
    -------
    list of Int[ndarray, "stimulus"]
        The indices of the stimuli in each batch.
    """
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]


def alike(keys: Sequence[Hashable], size: int) -> list[Indices]:
    """Return batches of at most ``size`` stimuli that have the same key, such as a length.

    Parameters
    ----------
    keys
        Of every stimulus.
    size
        Largest number of stimuli in a batch.

    Returns
    -------
    list of Int[ndarray, "stimulus"]
        The indices of the stimuli in each batch; every stimulus is in one batch.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return [np.array(own)[part] for own in groups.values() for part in in_order(len(own), size)]


def bucketed(
    lengths: Int[np.ndarray, " stimulus"],
    positions: int,
    bound: int | None = None,
    padding: float = PADDING,
) -> list[Indices]:
    """Return batches of stimuli of nearly equal length, the longest first.

    Parameters
    ----------
    lengths
        Positions of every stimulus.
    positions
        Largest number of positions in a batch; one stimulus may have more.
    bound
        Largest number of stimuli in a batch; ``None``: no limit.
    padding
        Largest share (0-1) of the positions of a batch that is padding.

    Returns
    -------
    list of Int[ndarray, "stimulus"]
        The indices of the stimuli in each batch; every stimulus is in one batch.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while order.size:
        longest = max(int(lengths[order[0]]), 1)
        largest = min(max(positions // longest, 1), bound or order.size, order.size)
        filled = np.cumsum(lengths[order[:largest]])
        padded_size = longest * np.arange(1, largest + 1)
        n = int(np.flatnonzero(padded_size - filled <= padding * padded_size)[-1]) + 1
        batches.append(order[:n])
        order = order[n:]
    return batches


def padded(rows: Sequence[Shaped[np.ndarray, " _"]]) -> tuple[Tensor, Tensor | None]:
    """Return token ids ``(batch, position)`` padded on the right, and which are not padding.

    The second is ``None`` when nothing was padded. Padding is on the right whatever the
    tokenizer's setting: in a causal model later positions do not affect earlier ones, so neither
    position numbers nor activations change. For the same reason any token can be the padding.
    """
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for padded_row, row in zip(ids, rows, strict=True):
        padded_row[: len(row)] = row
    attended = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
    return torch.from_numpy(ids), None if bool(attended.all()) else attended


def each_batch(
    batches: Sequence[Indices], run: Callable[[Indices], Result]
) -> Iterator[tuple[Indices, Result]]:
    """Yield every batch with the result of ``run``; halve a batch that exhausts the memory.

    Parameters
    ----------
    batches
        Indices of the stimuli in each batch.
    run
        Computes one batch.

    Raises
    ------
    AdapterError
        If a single stimulus does not fit into memory.
    """
    _keep_freed_memory()
    pending = deque(batches)
    while pending:
        indices = pending.popleft()
        result = _attempt(indices, run)
        if result is not None:
            yield indices, result
        else:
            half = len(indices) // 2
            pending.extendleft([indices[half:], indices[:half]])


@cache
def _keep_freed_memory() -> None:
    """Make the C library keep up to 64 MiB of freed memory for the next batch.

    glibc returns freed memory to the system beyond twice the largest block freed so far, at most
    2 x 32 MiB (``M_TRIM_THRESHOLD``, mallopt(3)). Batches of a few MiB would pay for fresh pages
    again and again: a quarter of the time of a small network on a CPU. Freeing one untouched block
    of that size ends it; elsewhere, and where the limits are set by the user, it does nothing.
    """
    torch.empty(_LARGEST_KEPT, dtype=torch.uint8)


def _attempt(indices: Indices, run: Callable[[Indices], Result]) -> Result | None:
    try:
        return run(indices)
    except torch.OutOfMemoryError as error:
        if len(indices) == 1:
            raise AdapterError(
                f"out of memory on a single stimulus ({str(error).splitlines()[0]}); use a "
                "smaller model, --dtype bfloat16, --device cpu or a smaller `read.max_tokens`"
            ) from error
    _log.warning("out of memory with %d stimuli at once; trying half as many", len(indices))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
