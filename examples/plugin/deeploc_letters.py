"""A plugin of every group: a small model over one-hot letters, a task, and what compares units."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import deeploc
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.core.task import TaskContext
from deeploc.core.units import StatMap, UnitMask


class Letters(nn.Module):
    """Two blocks of 26 units; every position is a letter."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(26, 26) for _ in range(2))

    def forward(self, letters: Tensor) -> Tensor:
        """Return ``(batch, position, unit)`` from one-hot letters of the same shape."""
        for block in self.blocks:
            letters = block(letters).relu()
        return letters


def one_hot(texts: Sequence[str]) -> Tensor:
    """Return the first eight letters of each text as ``(batch, 8, 26)``."""
    codes = [[ord(letter) - ord("a") for letter in text.ljust(8, "z")[:8]] for text in texts]
    return nn.functional.one_hot(torch.tensor(codes).clamp(0, 25), 26).float()


def load(name: str, options: ModelOptions) -> Adapter:
    """Return the model.

    Parameters
    ----------
    name
        What stands after ``letters:`` in the address.
    options
        Device, dtype and batch size, which `deeploc.wrap` applies, and whether it is untrained.
    """
    torch.manual_seed(options.seed if options.untrained else 1234)
    return deeploc.wrap(Letters(), preprocess=one_hot, name=f"letters:{name}", options=options)


class Loudness:
    """How active the last block is on the held-out stimuli."""

    name = "vowels"
    metrics: Mapping[str, Any] = {"activity": "higher"}
    needs: tuple[
        type, ...
    ] = ()  # every adapter can be read; a task that scores text: (ScoresText,)

    def __init__(self, context: TaskContext) -> None:
        self._held_out = context.held_out
        texts = repr({c: [s.content for s in group] for c, group in context.held_out.items()})
        self.identity = {"items": hashlib.sha256(texts.encode()).hexdigest()}

    def prepare(self, adapter: Adapter) -> None:
        """Need nothing from the intact model."""

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the mean activity per condition, stimulus by stimulus."""
        layout = adapter.sites.choose(["blocks.1"])
        measured = []
        for condition, stimuli in self._held_out.items():
            activity = np.empty(len(stimuli))
            for batch in adapter.activations(stimuli, layout, Readout(pool="mean")):
                activity[batch.indices] = batch.values.mean(axis=1)
            measured.append(Measurement("activity", condition, activity, np.ones(len(activity))))
        return measured


def make(options: Mapping[str, Any], context: TaskContext) -> Loudness:
    """Return the task.

    Parameters
    ----------
    options
        What the contrast file has below the name of the task; this task takes none.
    context
        Stimuli and read-out of the contrast.
    """
    del options
    return Loudness(context)


def mean_difference(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return how much more every unit responds to the positive side, on average.

    Parameters
    ----------
    positive, negative
        ``(stimulus, unit)``: the responses to either side.
    """
    return positive.mean(axis=0) - negative.mean(axis=0)


def any_units(mask: UnitMask, ranking: StatMap, seed: int) -> UnitMask:
    """Return as many units as the mask has, at random among all, those of the mask too.

    Parameters
    ----------
    mask
        The ablated units, at sites of one kind.
    ranking
        The statistics of the units at the same sites; not used here.
    seed
        Another one for every mask of this control.
    """
    del ranking
    drawn = np.random.default_rng(seed).permutation(mask.layout.n_units)[: len(mask)]
    return UnitMask(mask.layout, np.isin(np.arange(mask.layout.n_units), drawn))


def letters(seed: int, alphabet: str = "aeiou", length: int = 5) -> Iterator[str]:
    """Yield texts of random letters.

    Parameters
    ----------
    seed
        Chooses the stream.
    alphabet, length
        Options that a contrast file may set.
    """
    rng = np.random.default_rng(seed)
    while True:
        yield "".join(rng.choice(list(alphabet), length))
