"""Which stimuli share a forward pass, and what happens when one does not fit into memory."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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

# Positions per forward pass. On the CPU more bring nothing once the weights no longer dominate
# the traffic to memory (`benchmarks/localize.py`); an accelerator needs more to be busy.
_BUDGET = {"cpu": 1024}
_BUDGET_ELSEWHERE = 16384

_log = logging.getLogger(__name__)


def budget(device: torch.device) -> int:
    """Return how many positions one forward pass should hold on ``device``."""
    return _BUDGET.get(device.type, _BUDGET_ELSEWHERE)


def in_order(n: int, size: int) -> list[Indices]:
    """Return batches of at most ``size`` of ``n`` stimuli, in their order."""
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]


def bucketed(
    lengths: Int[np.ndarray, " stimulus"],
    positions: int,
    bound: int | None = None,
    padding: float = PADDING,
) -> list[Indices]:
    """Return batches of stimuli of nearly one length, the longest first.

    A batch holds at most ``positions`` positions (but at least one stimulus), at most ``bound``
    stimuli and at most the share ``padding`` of padding.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while order.size:
        longest = max(int(lengths[order[0]]), 1)
        largest = min(max(positions // longest, 1), bound or order.size, order.size)
        held = np.cumsum(lengths[order[:largest]])
        room = longest * np.arange(1, largest + 1)
        fits = int(np.flatnonzero(room - held <= padding * room)[-1]) + 1
        batches.append(order[:fits])
        order = order[fits:]
    return batches


def padded(rows: Sequence[Shaped[np.ndarray, " _"]]) -> tuple[Tensor, Tensor | None]:
    """Return token ids ``(batch, position)`` padded on the right, and which are not padding.

    The second is ``None`` when nothing was padded. Padding is on the right whatever the
    tokenizer prefers: a causal model cannot see it from earlier positions, so neither position
    numbers nor activations change. For the same reason any token will do as padding.
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
    """Yield every batch with what ``run`` makes of it; halve a batch that exhausts the memory.

    Raises
    ------
    AdapterError
        If the memory does not suffice for a single stimulus.
    """
    waiting = deque(batches)
    while waiting:
        indices = waiting.popleft()
        result = _attempt(indices, run)
        if result is not None:
            yield indices, result
        else:
            half = len(indices) // 2
            waiting.extendleft([indices[half:], indices[:half]])


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
