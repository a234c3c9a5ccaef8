"""Protocols of a task: something the model is asked to do, measured item by item.

A task is a `Task`. What else it may be, each a small protocol of its own:

* `NeedsAbilities`, `ChecksModel`: the task refuses a model before any forward pass;
* `RequestsScores`: it is measured on scores of texts that are known beforehand;
* `ReadsActivations`: it is prepared and measured on activations.

`deeploc.core.measuring` serves the last two, so that texts are scored in one call for all tasks
and activations that are known already are not read again. What is measured on units instead of on
the model is no `Task` but a `deeploc.core.unit_task.UnitTask`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from deeploc.core.adapter import Adapter, TextRequest, TextScore
from deeploc.core.adapter_plugins import how_to_add
from deeploc.core.readout import Readout
from deeploc.core.results import Better, Measurement
from deeploc.core.units import Layout
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

Ability = TypeVar("Ability")


@dataclass(frozen=True)
class TaskContext:
    """What a task may make its items of.

    Parameters
    ----------
    held_out
        Condition of the contrast -> the stimuli that did not localize.
    positive
        The conditions that the contrast prefers.
    base
        The folder that relative paths in the options start at.
    seed
        Seed of every random choice of items.
    limit
        The most items a condition, sampled with ``seed``; ``None``: all.
    localizing
        Condition -> the stimuli that localized, for tasks that learn before they measure (with
        ``split: none`` both halves are all stimuli).
    read
        How the contrast reads a model, for tasks that read it too.
    strict
        Whether an image that cannot be read is an error; else it is left out.
    folder
        The user's folder (``--stimuli``), if one was named.
    """

    held_out: Mapping[str, Sequence[Stimulus]]
    positive: Sequence[str]
    base: Path
    seed: int = 0
    limit: int | None = None
    localizing: Mapping[str, Sequence[Stimulus]] = field(default_factory=dict)
    read: Readout = field(default_factory=Readout)
    strict: bool = False
    folder: Path | None = None


@runtime_checkable
class Named(Protocol):
    """A task of any kind."""

    @property
    def name(self) -> str:
        """The name the task has in contrast files and in scores.csv."""
        ...


@runtime_checkable
class Task(Protocol):
    """One thing a model is asked to do.

    Made by the entry point's ``make(options, context)``, where ``options`` is what the contrast
    file has below the task's name.
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
        """Learn from the intact model what ``measure`` needs (reference predictions, a probe).

        Raises
        ------
        TaskError
            If the task cannot be measured on this model.
        """
        ...

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the measurements of the model as it is now, intact or ablated."""
        ...


@runtime_checkable
class MakesTask(Protocol):
    """A plugin of the group ``tasks``: makes a task."""

    def __call__(self, options: Mapping[str, Any], context: TaskContext, /) -> Task:
        """Return the task, its items read.

        Parameters
        ----------
        options
            What the contrast file has below the name of the task.
        context
            The stimuli and the read-out of the contrast.
        """
        ...


@runtime_checkable
class NeedsAbilities(Protocol):
    """A task that only some models can be measured on; a task without ``needs`` takes them all."""

    @property
    def needs(self) -> tuple[type, ...]:
        """Protocols of `deeploc.core.adapter` that the adapter must satisfy, e.g. `ScoresText`."""
        ...


@runtime_checkable
class HasChance(Protocol):
    """A task on which guessing scores more than 0."""

    @property
    def chance(self) -> Mapping[str, float]:
        """Metric, or ``METRIC/CONDITION`` where these differ -> what guessing scores on average.

        Metrics that are not named have 0.
        """
        ...


@runtime_checkable
class ChecksModel(Protocol):
    """A task that can detect without a forward pass that it cannot be measured on a model."""

    def check(self, adapter: Adapter) -> None:
        """Refuse a model that has all abilities in ``needs`` and still does not fit.

        Raises
        ------
        TaskError
            If the model does not fit, e.g. lacks a class that the items are labelled with.
        """
        ...


@runtime_checkable
class RequestsScores(Protocol):
    """A task whose measurements follow from the scores of texts that do not change."""

    @property
    def requests(self) -> Sequence[TextRequest]:
        """Every text to be scored; a text may be there more than once."""
        ...

    def measure_scores(self, scores: Mapping[TextRequest, TextScore]) -> list[Measurement]:
        """Return the measurements, given the score of every request (and perhaps of others)."""
        ...


@dataclass(frozen=True)
class Reading:
    """Activations that a task asks for: of these stimuli, at these sites, read this way.

    Parameters
    ----------
    stimuli
        The stimuli, in the order of the rows of the activations.
    layout
        The units, in the order of the columns: a choice from the sites of the adapter.
    readout
        How positions become one number; its ``sites`` and ``response`` do not matter, since
        activations are those of ``layout``, signed.
    """

    stimuli: tuple[Stimulus, ...]
    layout: Layout
    readout: Readout


@runtime_checkable
class ReadsActivations(Protocol):
    """A task that is prepared on one reading of the intact model and measured on another."""

    def training(self, adapter: Adapter) -> Reading:
        """Return what the task is prepared on; needs no forward pass."""
        ...

    def testing(self, adapter: Adapter) -> Reading:
        """Return what the task is measured on; needs no forward pass."""
        ...

    def learn(self, activations: Float[np.ndarray, "stimulus unit"]) -> None:
        """Prepare the task on the activations of ``training``, read from the intact model."""
        ...

    def measure_activations(
        self, activations: Float[np.ndarray, "stimulus unit"]
    ) -> list[Measurement]:
        """Return the measurements, given the activations of ``testing``."""
        ...


def check_needs(adapter: Adapter, tasks: Sequence[Named]) -> None:
    """Refuse tasks that cannot be measured on a model, before any forward pass.

    Parameters
    ----------
    adapter
        The model.
    tasks
        Tasks that are `NeedsAbilities` or `ChecksModel` are checked; others pass.

    Raises
    ------
    TaskError
        If the adapter lacks an ability that tasks need (names the model, every such task and the
        ability), or a task's own check fails.
    """
    lacking = [
        (task.name, ability.__name__)
        for task in tasks
        if isinstance(task, NeedsAbilities)
        for ability in task.needs
        if not isinstance(adapter, ability)
    ]
    if lacking:
        raise TaskError(_lacks(adapter, lacking))
    for task in tasks:
        if isinstance(task, ChecksModel):
            task.check(adapter)


def require(adapter: Adapter, ability: type[Ability], task: str) -> Ability:
    """Return the adapter, known to have an ability.

    Parameters
    ----------
    adapter
        The model.
    ability
        A protocol of `deeploc.core.adapter`, e.g. `ScoresText`.
    task
        Name of the task that needs it, for messages.

    Raises
    ------
    TaskError
        If the adapter lacks the ability.
    """
    if not isinstance(adapter, ability):
        raise TaskError(_lacks(adapter, [(task, ability.__name__)]))
    return adapter


def _lacks(adapter: Adapter, lacking: Sequence[tuple[str, str]]) -> str:
    model = adapter.identity.get("model", "this model")
    if len(lacking) == 1:
        ((task, ability),) = lacking
        return (
            f"task {task!r} needs a model with the ability {ability}; {model} has none; "
            f"leave the task out{how_to_add(adapter)}"
        )
    needs = ", ".join(f"{task!r} ({ability})" for task, ability in lacking)
    more = how_to_add(adapter)
    return f"tasks need abilities that {model} lacks: {needs}; leave these tasks out{more}"
