"""Outcomes: one metric of one task on one condition, and which of them decide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deeploc.core.results import Better

Outcome = tuple[str, str, str]
"""Task, metric and condition."""


def main_outcomes(
    outcomes: Iterable[Outcome], better: Mapping[str, Mapping[str, Better]]
) -> list[Outcome]:
    """Return the outcomes of the first metric of each task, on whole conditions only.

    Parameters
    ----------
    outcomes
        Every outcome of a run. A condition ``CONDITION/PART`` is a part of one that was measured
        as a whole, and is left out.
    better
        Task -> metric -> which direction is good, the main metric of each task first.
    """
    distinct = list(dict.fromkeys(outcomes))
    main = {(task, next(iter(metrics))) for task, metrics in better.items()}
    whole = {(task, condition) for task, _, condition in distinct}
    return [
        (task, metric, condition)
        for task, metric, condition in distinct
        if (task, metric) in main and (task, condition.rpartition("/")[0]) not in whole
    ]


@dataclass(frozen=True)
class Deciding:
    """The outcomes that decide a verdict.

    Parameters
    ----------
    primary
        The one that must suffer.
    against
        Those that must suffer less.
    """

    primary: Outcome
    against: tuple[Outcome, ...] = ()

    @property
    def tasks(self) -> set[str]:
        """The tasks that measure them."""
        return {task for task, _, _ in (self.primary, *self.against)}


def deciding_outcomes(
    primary: Sequence[str],
    against: Sequence[Sequence[str]] | None,
    measured: Iterable[Outcome],
    better: Mapping[str, Mapping[str, Better]],
    *,
    preferred: Sequence[str],
) -> Deciding | None:
    """Return the outcomes that a verdict rests on; None where the primary one was not measured.

    Parameters
    ----------
    primary
        Its task, metric and condition, as far as they are stated: the metric is by default the
        first of the task, the condition the first one on the preferred side of the contrast, else
        the first.
    against
        The same of the others, where every condition is meant by default; None: the first metric
        of everything measured that is neither on the preferred side nor on the primary condition,
        which another task may measure too.
    measured
        The outcomes that there are.
    better
        Task -> metric -> which direction is good, the main metric of each task first.
    preferred
        The conditions on the preferred side of the contrast.
    """
    every = list(dict.fromkeys(measured))
    main = main_outcomes(every, better)
    candidates = _matching(primary, every, main)
    if not candidates:
        return None
    chosen = next((o for o in candidates if o[2] in preferred), candidates[0])
    if against is None:
        others = [outcome for outcome in main if outcome[2] not in (*preferred, chosen[2])]
    else:
        others = [outcome for named in against for outcome in _matching(named, every, main)]
    return Deciding(chosen, tuple(o for o in dict.fromkeys(others) if o != chosen))


def _matching(
    named: Sequence[str], every: Sequence[Outcome], main: Sequence[Outcome]
) -> list[Outcome]:
    """Return the outcomes that a name stands for: parts of conditions only if it names them."""
    pool = main if len(named) == 1 else every
    matching = [outcome for outcome in pool if outcome[: len(named)] == tuple(named)]
    if len(named) == 3:
        return matching
    whole = {condition for _, _, condition in matching}
    return [outcome for outcome in matching if outcome[2].rpartition("/")[0] not in whole]
