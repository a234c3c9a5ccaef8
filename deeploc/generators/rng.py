"""Random choices that are the same on every machine, and which records are held out."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

MAX_REPEATS = 20_000  # texts without a new one among them after which a stream is exhausted


def new_rng(*key: object) -> random.Random:
    """Return a random number generator seeded by everything in ``key``.

    Strings are hashed with SHA-512 by `random.seed`, so neither the machine nor
    ``PYTHONHASHSEED`` matters.
    """
    return random.Random("/".join(str(part) for part in key))


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """Return one of ``items``, each equally likely.

    Parameters
    ----------
    rng
        Gives one number.
    items
        At least one.

    Notes
    -----
    Only `random.random` is promised to keep its stream between Python versions, so nothing else
    of the generator is used (https://docs.python.org/3/library/random.html, reproducibility).
    """
    return items[int(rng.random() * len(items))]


def chance(rng: random.Random, probability: float) -> bool:
    """Return True with a probability.

    Parameters
    ----------
    rng
        Gives one number.
    probability
        Between 0 and 1.
    """
    return rng.random() < probability


def shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    """Return the items in random order.

    Parameters
    ----------
    rng
        Gives one number for each item but the first.
    items
        Any number of them.

    Source: Fisher-Yates, in the form of Durstenfeld (1964), doi:10.1145/364520.364540.
    """
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        result[last], result[other] = result[other], result[last]
    return result


def is_held_out(text: str, one_in: int = 2) -> bool:
    """Return whether a text belongs to the held-out records, whatever seed it comes from.

    Training and evaluation share the grammar; membership is a property of the text itself
    (BLAKE2b), so no seed can make a text belong to both.

    Parameters
    ----------
    text
        The text of a record.
    one_in
        The inverse of the share that is held out: 2 where there are countless texts, more where
        training needs most of them.
    """
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % one_in == 0


def distinct(texts: Iterable[str]) -> Iterator[str]:
    """Yield every text once; stop after `MAX_REPEATS` texts without a new one."""
    seen: set[str] = set()
    repeats = 0
    for text in texts:
        repeats += 1
        if text not in seen:
            seen.add(text)
            repeats = 0
            yield text
        if repeats >= MAX_REPEATS:
            return
