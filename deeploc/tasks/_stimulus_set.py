"""The stimuli that a task presents to a model, and which of them belong to which condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int

from deeploc.contrast.validation import StrictModel, Texts
from deeploc.core.adapter import Adapter, Classifies, Predictions
from deeploc.core.task import require
from deeploc.errors import TaskError, nearest
from deeploc.stimuli import Stimulus, split_half
from deeploc.stimuli.stimulus import content_hash

T = TypeVar("T")


@dataclass(frozen=True)
class StimulusSet:
    """Stimuli that are presented together, and the rows of each condition that is measured.

    Tasks over the held-out half present all of it in one order, whichever conditions they
    measure: an adapter that keeps its last predictions then needs one forward pass for all of
    these tasks.

    Parameters
    ----------
    stimuli
        What is presented, in order.
    rows
        Condition -> the positions of its stimuli in ``stimuli``.
    """

    stimuli: tuple[Stimulus, ...]
    rows: Mapping[str, Int[np.ndarray, " row"]]

    @classmethod
    def of(cls, stimuli: Mapping[str, Sequence[Stimulus]]) -> "StimulusSet":
        """Return all stimuli of ``stimuli`` (condition -> its stimuli), condition by condition."""
        ends = [0, *accumulate(map(len, stimuli.values()))]
        spans = zip(stimuli, ends, ends[1:], strict=False)
        rows = {name: np.arange(start, end) for name, start, end in spans}
        return cls(tuple(chain.from_iterable(stimuli.values())), rows)

    def groups(self) -> dict[str, list[Stimulus]]:
        """Return the stimuli of every measured condition."""
        return {name: [self.stimuli[i] for i in rows] for name, rows in self.rows.items()}

    def only(self, task: str, conditions: Sequence[str]) -> "StimulusSet":
        """Return the same stimuli with the rows of some conditions.

        Parameters
        ----------
        task
            Name of the task, for messages.
        conditions
            Names of the conditions to measure.

        Raises
        ------
        TaskError
            If a condition does not exist or has no stimulus.
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
        return StimulusSet(self.stimuli, {name: self.rows[name] for name in conditions})

    def halves(self, seed: int) -> tuple["StimulusSet", "StimulusSet"]:
        """Return the same stimuli twice: with the rows of a random half, and of the other half.

        Stimuli of equal content are in the same half; ``seed`` decides which.
        """
        groups = self.groups()
        first, _ = split_half(groups, seed)
        members = {name: set(half) for name, half in first.items()}
        inside = {
            name: np.array([stimulus in members[name] for stimulus in group])
            for name, group in groups.items()
        }
        return (
            StimulusSet(self.stimuli, {name: r[inside[name]] for name, r in self.rows.items()}),
            StimulusSet(self.stimuli, {name: r[~inside[name]] for name, r in self.rows.items()}),
        )

    def classified(self, adapter: Adapter, task: str) -> Predictions:
        """Return what the model, as it is now, predicts for all stimuli, in their order.

        Parameters
        ----------
        adapter
            The model, intact or ablated.
        task
            Name of the task, for messages.

        Raises
        ------
        TaskError
            If the model does not classify.
        """
        return require(adapter, Classifies, task).classify(self.stimuli)

    def identity(self) -> dict[str, str]:
        """Return condition -> sha256 of the content of its stimuli."""
        return {name: content_hash(group) for name, group in self.groups().items()}


class ConditionOptions(StrictModel):
    """Options of a task over the held-out half."""

    conditions: Texts | None = None
    """Conditions to measure; default: all of the contrast."""


def held_out(
    task: str, options: Mapping[str, Any], stimuli: Mapping[str, Sequence[Stimulus]]
) -> StimulusSet:
    """Return the held-out stimuli with the rows of the conditions that ``options`` asks for.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        Options of the task as the contrast file gives them (`ConditionOptions`).
    stimuli
        Condition -> its held-out stimuli.

    Raises
    ------
    TaskError
        If a condition does not exist or has no stimulus.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    wanted = ConditionOptions.model_validate(options).conditions
    return StimulusSet.of(stimuli).only(task, list(dict.fromkeys(wanted or stimuli)))


def prepared(learned: T | None, task: str) -> T:
    """Return what a task learned from the intact model.

    Parameters
    ----------
    learned
        What `Task.prepare` stored; ``None`` before it was called.
    task
        Name of the task, for messages.

    Raises
    ------
    TaskError
        If ``learned`` is ``None``.
    """
    if learned is None:
        raise TaskError(f"task {task!r} was not prepared; call prepare() on the intact model first")
    return learned
