"""Copying of non-words: ``copy bafe lom : bafe lom``."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from deeploc.generators.english.nonwords import nonword
from deeploc.generators.rng import distinct, is_held_out, new_rng, pick

WORDS = (2, 3, 4)
LETTERS = (3, 4, 4, 5, 5, 6)


def copying(seed: int, _options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield held-out copying records.

    Parameters
    ----------
    seed
        Decides the records.
    _options
        None exist.
    """
    rng = new_rng("copying", seed)
    held_out = (line for line in _lines(rng) if is_held_out(line))
    yield from (_record(line) for line in distinct(held_out))


def training_copying(seed: int) -> Iterator[dict[str, str]]:
    """Yield copying records without end, none of them held out."""
    for line in _lines(new_rng("training-copying", seed)):
        if not is_held_out(line):
            yield _record(line)


def _lines(rng: random.Random) -> Iterator[str]:
    """Yield rows of non-words to be copied, without end."""
    while True:
        yield " ".join(nonword(rng, pick(rng, LETTERS)) for _ in range(pick(rng, WORDS)))


def _record(line: str) -> dict[str, str]:
    """Return the record that asks for a copy of ``line``.

    Examples
    --------
    >>> _record("bafe lom")["text"]
    'copy bafe lom : bafe lom'
    """
    prompt, completion = f"copy {line} :", f" {line}"
    return {"prompt": prompt, "completion": completion, "text": prompt + completion}
