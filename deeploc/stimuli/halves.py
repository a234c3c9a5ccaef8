"""Divide stimuli into those that localize and those that evaluate."""

from collections import Counter
from collections.abc import Mapping, Sequence

from deeploc.stimuli.sources import substream
from deeploc.stimuli.stimulus import Stimulus

Halves = tuple[dict[str, tuple[Stimulus, ...]], dict[str, tuple[Stimulus, ...]]]


def split_half(stimuli: Mapping[str, Sequence[Stimulus]], seed: int) -> Halves:
    """Return (stimuli to localize with, stimuli to evaluate on), a random half each.

    The first half has one more where their number is odd. Stimuli of one condition that show the
    same (equal texts, files of equal bytes) land in the same half, so that nothing is evaluated on
    what it was localized with; with many such repeats the halves can differ in size. Each keeps
    the order of ``stimuli``.
    """
    halves: Halves = ({}, {})
    for name, group in stimuli.items():
        first = _first_half(group, seed, name)
        halves[0][name] = tuple(s for s in group if s.shown in first)
        halves[1][name] = tuple(s for s in group if s.shown not in first)
    return halves


def _first_half(group: Sequence[Stimulus], seed: int, name: str) -> set[str]:
    repeats = Counter(stimulus.shown for stimulus in group)
    contents = list(repeats)
    room = (len(group) + 1) // 2
    first = set()
    for index in substream(seed, f"split:{name}").permutation(len(contents)):
        if repeats[contents[index]] <= room:
            room -= repeats[contents[index]]
            first.add(contents[index])
    return first
