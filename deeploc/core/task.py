"""What a task is: something the model is asked to do, measured item by item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from deeploc.core.adapter import Adapter
from deeploc.core.readout import Readout
from deeploc.core.results import Better, Measurement
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

Ability = TypeVar("Ability")


@dataclass(frozen=True)
class TaskContext:
    """What a task may build its items from.

    ``held_out`` maps each condition of the contrast to the stimuli that did not localize and
    ``localizing`` to those that did, for tasks that learn something before they measure (with
    ``split: none`` both are all of them). ``positive`` names the conditions the contrast prefers,
    ``read`` is how it reads a model, for tasks that read it too.
    Relative paths in the options are relative to ``base``; ``limit`` bounds the items
    per condition (``None``: all), drawn with ``seed``; with ``strict`` an image that cannot be read
    is an error, else it is left out.
    """

    held_out: Mapping[str, Sequence[Stimulus]]
    positive: Sequence[str]
    base: Path
    seed: int = 0
    limit: int | None = None
    localizing: Mapping[str, Sequence[Stimulus]] = field(default_factory=dict)
    read: Readout = field(default_factory=Readout)
    strict: bool = False


@runtime_checkable
class Task(Protocol):
    """One thing a model is asked to do.

    Made by the entry point's ``make(options, context)``, where ``options`` is what the contrast
    file says below the task's name.
    """

    @property
    def name(self) -> str:
        """The name the task has in contrast files and in scores.csv."""
        ...

    @property
    def metrics(self) -> Mapping[str, Better]:
        """Metric name -> whether ``higher`` or ``lower`` values mean a better model."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the numbers (options, content hash of the items), as JSON."""
        ...

    def prepare(self, adapter: Adapter) -> None:
        """Learn from the intact model what ``measure`` needs (reference outputs, a probe).

        Raises
        ------
        TaskError
            If the adapter lacks the ability that the task needs.
        """
        ...

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the measurements of the model as it is now, intact or ablated."""
        ...


def require(adapter: Adapter, ability: type[Ability], task: str) -> Ability:
    """Return the adapter as one that has ``ability``.

    Raises
    ------
    TaskError
        If it lacks it.
    """
    if not isinstance(adapter, ability):
        raise TaskError(
            f"task {task!r} needs a model with the ability {ability.__name__}; "
            f"{adapter.identity.get('model', 'this model')} has none; leave the task out"
        )
    return adapter
