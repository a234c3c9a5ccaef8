"""Keep as many stimuli on one side of a comparison as on the other."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from deeploc.stimuli.sources import sample
from deeploc.stimuli.stimulus import Stimulus


@runtime_checkable
class HasSides(Protocol):
    """The part of a comparison that balancing needs."""

    @property
    def positive(self) -> tuple[str, ...]:
        """The conditions on one side."""
        ...

    @property
    def negative(self) -> tuple[str, ...]:
        """The conditions on the other."""
        ...


def balanced(
    stimuli: Mapping[str, Sequence[Stimulus]], sides: HasSides, seed: int
) -> dict[str, tuple[Stimulus, ...]]:
    """Return as many stimuli of each side as the smaller has, in their own order.

    The larger side gives them up where it has most, so that its conditions become as even as they
    can be (`quotas`); which ones is drawn with ``seed`` and the condition's name. Conditions on
    neither side stay as they are.
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
    """Return how many to take of each of several groups, ``total`` in all and as evenly as fits.

    No group gives more than it has; whatever does not divide goes to the first that have it.

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
