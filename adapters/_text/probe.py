"""Two small inputs that show at load what a language model does with texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

N_TEXTS, N_TOKENS = (5, 3), (7, 18)
"""Of the two inputs: no axis that goes with the one goes with the other."""

SAME = ((2, 4), None)
LAST = ((0, 1), (1, 2))
"""Rows of each input that hold the same text, and rows that differ in their last token only."""

_CANDIDATES = 4096


@dataclass(frozen=True)
class ProbeInput:
    """Token ids, and which of them are no padding (``None``: all)."""

    ids: Int[Tensor, "batch position"]
    attended: Bool[Tensor, "batch position"] | None = None


def probe_inputs(vocabulary: int, special: frozenset[int]) -> tuple[ProbeInput, ProbeInput]:
    """Return five texts of 7 tokens, and three of 18 of which the first is that of 7, padded.

    Parameters
    ----------
    vocabulary
        Number of tokens.
    special
        Tokens to do without: what stands for padding, images and the like.
    """
    rng = np.random.default_rng(0)
    plain = [i for i in range(min(vocabulary, _CANDIDATES)) if i not in special]
    plain = plain if len(plain) > 1 else list(range(vocabulary))
    first, second = (rng.choice(plain, size) for size in zip(N_TEXTS, N_TOKENS, strict=True))
    first[4] = first[2]
    for ids, rows in zip((first, second), LAST, strict=True):
        ids[rows[1]] = ids[rows[0]]
        ids[rows[1], -1] = next(i for i in (*plain, 0) if i != ids[rows[0], -1])
    second[0] = 0
    second[0, : N_TOKENS[0]] = first[0]
    attended = torch.ones(second.shape, dtype=torch.bool)
    attended[0, N_TOKENS[0] :] = False
    return ProbeInput(torch.from_numpy(first)), ProbeInput(torch.from_numpy(second), attended)


def special_tokens(config: Any) -> frozenset[int]:
    """Return the tokens that a config gives a meaning of their own.

    Parameters
    ----------
    config
        Of a model of transformers.
    """
    return frozenset(_special(config)) | frozenset(_special(config.get_text_config()))


def _special(config: Any) -> Iterator[int]:
    for name, value in vars(config).items():
        if name.endswith(("_token_id", "_token_ids", "_token_index")):
            values = value if isinstance(value, list | tuple) else [value]
            yield from (each for each in values if isinstance(each, int))
