"""What tasks show a model of a contrast: all stimuli at once, and which are whose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int

from deeploc.contrast.validation import StrictModel, Texts
from deeploc.core.adapter import Adapter, Answers, Classifies
from deeploc.core.task import require
from deeploc.errors import TaskError, nearest
from deeploc.stimuli import Stimulus, split_half
from deeploc.stimuli.stimulus import content_hash

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """Stimuli that are shown together; ``rows`` says which of them belong to a condition.

    Tasks over the held-out half show all of it in one order, whichever conditions they measure:
    an adapter that remembers its answers then needs one forward pass for all of these tasks.
    """

    stimuli: tuple[Stimulus, ...]
    rows: Mapping[str, Int[np.ndarray, " row"]]

    @classmethod
    def of(cls, stimuli: Mapping[str, Sequence[Stimulus]]) -> "Shown":
        """Return all stimuli, condition after condition."""
        ends = [0, *accumulate(map(len, stimuli.values()))]
        spans = zip(stimuli, ends, ends[1:], strict=False)
        rows = {name: np.arange(start, end) for name, start, end in spans}
        return cls(tuple(chain.from_iterable(stimuli.values())), rows)

    def groups(self) -> dict[str, list[Stimulus]]:
        """Return the stimuli of every condition."""
        return {name: [self.stimuli[i] for i in rows] for name, rows in self.rows.items()}

    def only(self, task: str, conditions: Sequence[str]) -> "Shown":
        """Return the same stimuli, of which only those of ``conditions`` count.

        Raises
        ------
        TaskError
            If one of them does not exist or holds no stimulus.
        """
        for name in conditions:
            if name not in self.rows:
                raise TaskError(
                    f"task {task!r}: there is no condition {name!r}; "
                    f"{nearest(name, self.rows)}there are: {', '.join(self.rows) or 'none'}"
                )
            if not len(self.rows[name]):
                raise TaskError(
                    f"task {task!r}: a half of condition {name!r} is empty; add stimuli that "
                    "differ, or leave the condition out by naming the others"
                )
        return Shown(self.stimuli, {name: self.rows[name] for name in conditions})

    def halves(self, seed: int) -> tuple["Shown", "Shown"]:
        """Return the same stimuli twice: a random half of each condition counts, or the other."""
        groups = self.groups()
        first, _ = split_half(groups, seed)
        drawn = {name: {stimulus.shown for stimulus in half} for name, half in first.items()}
        inside = {
            name: np.array([stimulus.shown in drawn[name] for stimulus in group])
            for name, group in groups.items()
        }
        return (
            Shown(self.stimuli, {name: rows[inside[name]] for name, rows in self.rows.items()}),
            Shown(self.stimuli, {name: rows[~inside[name]] for name, rows in self.rows.items()}),
        )

    def answers(self, adapter: Adapter, task: str) -> Answers:
        """Return the answers of the model as it is now to all stimuli.

        Raises
        ------
        TaskError
            If it does not classify.
        """
        return require(adapter, Classifies, task).classify(self.stimuli)

    def identity(self) -> dict[str, str]:
        """Return the hash of what the stimuli of every condition show."""
        return {name: content_hash(group) for name, group in self.groups().items()}


class Options(StrictModel):
    """``conditions`` are those that are measured; default: all of the contrast."""

    conditions: Texts | None = None


def held_out(
    task: str, options: Mapping[str, Any], stimuli: Mapping[str, Sequence[Stimulus]]
) -> Shown:
    """Return the held-out ``stimuli``, of which the conditions in ``options`` count.

    Raises
    ------
    TaskError
        If a condition does not exist or holds no stimulus.
    pydantic.ValidationError
        If the options are not as they must be; told with file and line by the caller.
    """
    wanted = Options.model_validate(options).conditions
    return Shown.of(stimuli).only(task, list(dict.fromkeys(wanted or stimuli)))


def prepared(learned: T | None, task: str) -> T:
    """Return what a task learned from the intact model.

    Raises
    ------
    TaskError
        If it has not learned it.
    """
    if learned is None:
        raise TaskError(f"task {task!r} was not prepared; call prepare() on the intact model first")
    return learned
