"""The stimuli of an experiment: drawn, divided into halves, and what was left out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from deeploc.stimuli.halves import split_half
from deeploc.stimuli.images import Unreadable
from deeploc.stimuli.loading import HasConditions, load
from deeploc.stimuli.sources import sample
from deeploc.stimuli.stimulus import Stimulus
from deeploc.watch import Watch

MOST_TOLD = 20
"""How many images that could not be read are told one by one at the end of a run."""


@runtime_checkable
class Divides(HasConditions, Protocol):
    """The part of a contrast that drawing needs."""

    @property
    def split(self) -> str:
        """``half``, or ``none``: all stimuli localize and evaluate."""
        ...

    @property
    def evaluate_limit(self) -> int | None:
        """How many held-out stimuli of a condition are evaluated at most."""
        ...


@dataclass(frozen=True)
class Drawn:
    """The stimuli of each condition that localize and evaluate, and the images left out.

    ``counts`` are all there are of each condition, those included that ``evaluate_limit`` spares.
    """

    localizing: Mapping[str, Sequence[Stimulus]]
    held_out: Mapping[str, Sequence[Stimulus]]
    unreadable: Sequence[Unreadable] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def halves(self) -> tuple[Mapping[str, Sequence[Stimulus]], Mapping[str, Sequence[Stimulus]]]:
        """The stimuli that localize and those that evaluate."""
        return self.localizing, self.held_out

    def tell(self, watch: Watch) -> None:
        """Note how many images could not be read, and which: a line each, at most 20."""
        if not self.unreadable:
            return
        watch.note(f"left out, because unreadable: {len(self.unreadable):,}")
        for image in self.unreadable[:MOST_TOLD]:
            watch.note(f"  {image}")
        if (more := len(self.unreadable) - MOST_TOLD) > 0:
            watch.note(f"  and {more:,} more: the manifest of a run lists them all")


def draw(
    contrast: Divides,
    *,
    seed: int,
    limit: int | None = None,
    folder: Path | None = None,
    strict: bool = False,
    watch: Watch | None = None,
) -> Drawn:
    """Return the stimuli as `load` reads them, divided as the contrast says.

    Raises
    ------
    ContrastError
        As `load` does.
    """
    unreadable: list[Unreadable] = []
    tell = unreadable.append
    stimuli = load(
        contrast, seed=seed, limit=limit, folder=folder, strict=strict, unreadable=tell, watch=watch
    )
    counts = {name: len(group) for name, group in stimuli.items()}
    if contrast.split == "none":
        return Drawn(stimuli, stimuli, unreadable, counts)
    localizing, held_out = split_half(stimuli, seed)
    most = contrast.evaluate_limit
    evaluated = {c: sample(group, most, seed, f"evaluate:{c}") for c, group in held_out.items()}
    return Drawn(localizing, evaluated, unreadable, counts)
