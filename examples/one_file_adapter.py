"""A model, a statistic, a control and a generator for deeploc, all in this one file.

deeploc check-adapter letters:small --plugin examples/one_file_adapter.py
"""

import numpy as np
import torch
from torch import Tensor, nn

import deeploc


class Letters(nn.Module):
    """Two blocks of 26 units over one-hot letters, (batch, position, unit)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(26, 26) for _ in range(2))

    def forward(self, letters: Tensor) -> Tensor:
        """Return the last block's output."""
        for block in self.blocks:
            letters = block(letters).relu()
        return letters


def one_hot(texts):
    """Return the first eight letters of each text as (batch, 8, 26)."""
    codes = [[ord(letter) - ord("a") for letter in text.ljust(8, "z")[:8]] for text in texts]
    return nn.functional.one_hot(torch.tensor(codes).clamp(0, 25), 26).float()


def load(name, options):
    """Return the model; `name` is what stands after `letters:`."""
    torch.manual_seed(options.seed if options.untrained else 1234)
    return deeploc.wrap(Letters(), preprocess=one_hot, name=f"letters:{name}", options=options)


def mean_difference(positive, negative):
    """Return how much more each unit responds to the positive side, on average."""
    return positive.mean(axis=0) - negative.mean(axis=0)


def any_units(mask, ranking, seed):
    """Return as many units as the mask has, at random among all, those of the mask too."""
    del ranking  # this control does not use the statistics
    chosen = np.random.default_rng(seed).permutation(mask.layout.n_units)[: len(mask)]
    return deeploc.UnitMask(mask.layout, np.isin(np.arange(mask.layout.n_units), chosen))


def repeated_letters(seed, letters="aeiou", length=5):
    """Yield texts of random letters out of `letters`."""
    rng = np.random.default_rng(seed)
    while True:
        yield "".join(rng.choice(list(letters), length))


plugins = {
    "adapters": {"letters": load},
    "statistics": {"mean-difference": mean_difference},
    "controls": {"any-units": any_units},
    "generators": {"repeated-letters": repeated_letters},
}
