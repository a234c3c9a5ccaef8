"""Sample stimuli, balance the sides of a comparison, and split conditions into halves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np

from deeploc.contrast.comparison import Comparison
from deeploc.stimuli.stimulus import Stimulus

T = TypeVar("T")

Halves = tuple[dict[str, tuple[Stimulus, ...]], dict[str, tuple[Stimulus, ...]]]


def sample(items: Sequence[T], limit: int | None, seed: int, name: str) -> list[T]:
    """Return a random sample of at most ``limit`` items, in their own order.

    The sample depends on the seed, the name and the number of items only; a smaller sample is part
    of a larger one.

    Parameters
    ----------
    items
        What is sampled from.
    limit
        The largest sample; None: all items.
    seed
        The seed of the run.
    name
        The condition.
    """
    if limit is None or limit >= len(items):
        return list(items)
    chosen = substream(seed, f"sample:{name}").permutation(len(items))[:limit]
    return [items[i] for i in sorted(chosen)]


def substream(seed: int, name: str) -> np.random.Generator:
    """Return a random number generator, the same on every machine.

    Parameters
    ----------
    seed
        The seed of the run.
    name
        Another name gives an independent stream.
    """
    return np.random.default_rng([seed, crc32(name.encode())])


def split_half(
    stimuli: Mapping[str, Sequence[Stimulus]], seed: int, paired: Sequence[str] = ()
) -> Halves:
    """Return (stimuli to localize with, stimuli to evaluate on), a random half each.

    The first half has one more where their number is odd. Equal stimuli of one condition (equal
    texts, files of equal bytes) are in the same half, so that no stimulus is evaluated that was
    localized with; with many such repeats the halves can differ in size. Each keeps the order of
    ``stimuli``.

    Parameters
    ----------
    stimuli
        Condition -> stimuli.
    seed
        The seed of the run.
    paired
        Conditions whose stimuli belong together one by one: partners are in the same half.
    """
    halves: Halves = ({}, {})
    for name, (keys, stream) in inseparable(stimuli, paired).items():
        first = _first_half(keys, seed, stream)
        both = list(zip(stimuli[name], keys, strict=True))
        halves[0][name] = tuple(stimulus for stimulus, key in both if key in first)
        halves[1][name] = tuple(stimulus for stimulus, key in both if key not in first)
    return halves


def inseparable(
    stimuli: Mapping[str, Sequence[Stimulus]], paired: Sequence[str] = ()
) -> dict[str, tuple[list[str], str]]:
    """Return a key per stimulus, and the condition that names the random numbers of a condition.

    Stimuli of one key stay together: equal ones of a condition, and of paired conditions the
    partners, which use the random numbers of the first of them.

    Parameters
    ----------
    stimuli
        Condition -> stimuli.
    paired
        Conditions whose stimuli belong together one by one; as many of each.
    """
    shared = _linked([stimuli[name] for name in paired])
    return {
        name: (shared, paired[0])
        if name in paired
        else ([stimulus.content_key for stimulus in group], name)
        for name, group in stimuli.items()
    }


def _linked(groups: Sequence[Sequence[Stimulus]]) -> list[str]:
    """Return a key per row of the groups; rows with an equal stimulus of one group have the same.

    That holds along chains of rows too: each row points to an earlier one of its key, or to itself.
    """
    earlier = list(range(len(groups[0]))) if groups else []

    def root(row: int) -> int:
        while earlier[row] != row:
            row = earlier[row]
        return row

    for group in groups:
        seen: dict[str, int] = {}
        for row, stimulus in enumerate(group):
            a, b = root(row), root(seen.setdefault(stimulus.content_key, row))
            earlier[max(a, b)] = min(a, b)
    return [str(root(row)) for row in range(len(earlier))]


def _first_half(keys: Sequence[str], seed: int, name: str) -> set[str]:
    repeats = Counter(keys)
    contents = list(repeats)
    room = (len(keys) + 1) // 2
    first = set()
    for index in substream(seed, f"split:{name}").permutation(len(contents)):
        if repeats[contents[index]] <= room:
            room -= repeats[contents[index]]
            first.add(contents[index])
    return first


def deal(keys: Sequence[str], n: int, seed: int, name: str) -> list[int]:
    """Return which of ``n`` folds each stimulus is in, at random and as even as possible.

    Stimuli of one key are in the same fold, as in `split_half`.

    Parameters
    ----------
    keys
        Those of the stimuli of one condition, see `inseparable`.
    n
        How many folds.
    seed
        The seed of the run.
    name
        Another name deals otherwise.
    """
    repeats = Counter(keys)
    contents = list(repeats)
    sizes = [0] * n
    fold_of = {}
    for index in substream(seed, f"deal:{name}").permutation(len(contents)):
        fold = sizes.index(min(sizes))
        fold_of[contents[index]] = fold
        sizes[fold] += repeats[contents[index]]
    return [fold_of[key] for key in keys]


def balanced(
    stimuli: Mapping[str, Sequence[Stimulus]], sides: Comparison, seed: int
) -> dict[str, tuple[Stimulus, ...]]:
    """Return as many stimuli of each side as the smaller side has, in their own order.

    The larger side is reduced where it has most, so that its conditions become as even as possible
    (`quotas`). Conditions on neither side are kept whole.

    Parameters
    ----------
    stimuli
        Condition -> stimuli.
    sides
        The comparison.
    seed
        The seed of the run; with a condition's name it decides which stimuli are kept.
    """
    room = min(
        sum(len(stimuli[name]) for name in side) for side in (sides.positive, sides.negative)
    )
    kept = {name: tuple(group) for name, group in stimuli.items()}
    for side in (sides.positive, sides.negative):
        shares = quotas([len(stimuli[name]) for name in side], room)
        for name, share in zip(side, shares, strict=True):
            kept[name] = tuple(sample(stimuli[name], share, seed, f"balance:{name}"))
    return kept


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """Return how many to take of each of several groups, as evenly as possible.

    A remainder that does not divide is taken from the first groups that have more.

    Parameters
    ----------
    sizes
        The sizes of the groups; no more is taken of a group.
    total
        How many to take in all.

    Examples
    --------
    >>> quotas([550, 704, 178, 212, 81], 275)
    [55, 55, 55, 55, 55]
    >>> quotas([5, 1, 9], 10)
    [5, 1, 4]
    """
    taken = [0] * len(sizes)
    left = min(total, sum(sizes))
    while left:
        unfilled = [i for i, size in enumerate(sizes) if taken[i] < size]
        share = max(1, left // len(unfilled))
        for i in unfilled[:left]:
            more = min(share, sizes[i] - taken[i])
            taken[i] += more
            left -= more
    return taken
