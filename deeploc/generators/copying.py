"""Copying of non-words: ``copy bafe lom : bafe lom``."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from deeploc.generators.english.nonwords import nonword
from deeploc.generators.rng import distinct, is_held_out, new_rng, pick

WORDS = (2, 3, 4)
LETTERS = (3, 4, 4, 5, 5, 6)


def copying(seed: int, _options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield held-out copying records."""
    rng = new_rng("copying", seed)
    heard = (line for line in lines(rng) if is_held_out(line))
    yield from (record(line) for line in distinct(heard))


def training_copies(seed: int) -> Iterator[dict[str, str]]:
    """Yield copying records without end, none of them held out."""
    for line in lines(new_rng("training-copying", seed)):
        if not is_held_out(line):
            yield record(line)


def lines(rng: random.Random) -> Iterator[str]:
    """Yield what is to be copied."""
    while True:
        yield " ".join(nonword(rng, pick(rng, LETTERS)) for _ in range(pick(rng, WORDS)))


def record(line: str) -> dict[str, str]:
    """Return the record that asks for a copy of ``line``.

    Examples
    --------
    >>> record("bafe lom")["text"]
    'copy bafe lom : bafe lom'
    """
    prompt, completion = f"copy {line} :", f" {line}"
    return {"prompt": prompt, "completion": completion, "text": prompt + completion}
