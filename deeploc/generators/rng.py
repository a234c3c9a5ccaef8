"""Draws that are the same on every machine, and the split into training and held-out records."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

FRUITLESS = 20_000  # draws without a new record after which a stream counts as exhausted


def new_rng(*key: object) -> random.Random:
    """Return a generator seeded by everything in ``key``.

    Strings are hashed with SHA-512 by `random.seed`, so neither the machine nor
    ``PYTHONHASHSEED`` matters.
    """
    return random.Random("/".join(str(part) for part in key))


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """Return one of ``items``.

    Only `random.random` is promised to keep its stream between Python versions, so nothing else
    of the generator is used (https://docs.python.org/3/library/random.html, reproducibility).
    """
    return items[int(rng.random() * len(items))]


def chance(rng: random.Random, probability: float) -> bool:
    """Return True with this probability."""
    return rng.random() < probability


def shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    """Return the items in random order (Fisher-Yates, by `pick`'s rule)."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        result[last], result[other] = result[other], result[last]
    return result


def is_held_out(text: str, one_in: int = 2) -> bool:
    """Return whether a text belongs to the held-out records, whatever seed drew it.

    Training and evaluation share the grammar; membership is a property of the text itself
    (BLAKE2b), so no seed of one can ever leak into the other. ``one_in`` is the inverse share of
    held-out texts: half where texts are countless, less where training needs most of them.
    """
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % one_in == 0


def distinct(texts: Iterable[str]) -> Iterator[str]:
    """Yield every text once; stop when no new one has come for long."""
    seen: set[str] = set()
    fruitless = 0
    for text in texts:
        fruitless += 1
        if text not in seen:
            seen.add(text)
            fruitless = 0
            yield text
        if fruitless >= FRUITLESS:
            return
