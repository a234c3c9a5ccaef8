"""Make the tasks that a contrast names: check their options, read their items."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeploc import entry_points
from deeploc.contrast.model import Contrast
from deeploc.core.readout import Readout
from deeploc.core.task import MakesTask, TaskContext
from deeploc.core.task_plugins import check_task
from deeploc.core.unit_task import AnyTask
from deeploc.entry_points import Plugin
from deeploc.errors import ContrastError, PluginError, TaskError
from deeploc.stimuli import Stimulus

Stimuli = Mapping[str, Sequence[Stimulus]]


def make_tasks(
    contrast: Contrast,
    halves: tuple[Stimuli, Stimuli],
    *,
    seed: int = 0,
    limit: int | None = None,
    strict: bool = False,
    folder: Path | None = None,
) -> list[AnyTask]:
    """Return the tasks that a contrast names, their items read.

    Parameters
    ----------
    contrast
        Its ``evaluate`` section.
    halves
        The stimuli that localize and those that evaluate, per condition.
    seed
        Of the samples of items.
    limit
        Most items per condition; None: all.
    strict
        Whether an image that cannot be read is an error; otherwise it is left out.
    folder
        The user's folder (``--stimuli``), if one was named.

    Raises
    ------
    ContrastError
        If there is no task of that name, or its options or items are not usable; names file and
        line.
    """
    positive = contrast.comparison.positive
    localizing, held_out = halves
    context = TaskContext(
        held_out,
        positive,
        contrast.base,
        seed,
        limit,
        localizing=localizing,
        read=Readout.of(contrast.read),
        strict=strict,
        folder=folder,
    )
    made: dict[str, AnyTask] = {}
    for number, (name, options) in enumerate(contrast.tasks):
        try:
            made[name] = _made(entry_points.find("deeploc.tasks", name), options, context)
        except ValidationError as error:
            raise contrast.validation_error(error, ("evaluate", number, name)) from None
        except (PluginError, TaskError, ContrastError) as error:
            raise contrast.error_at(("evaluate", number, name), str(error)) from error
    return list(made.values())


def _made(plugin: Plugin, options: Mapping[str, Any], context: TaskContext) -> AnyTask:
    """Return the task that a plugin makes, known as its own."""
    make: MakesTask = plugin.load()
    with plugin.guarded(ValidationError):
        task = make(options, context)
    check_task(task, plugin)
    plugin.made(task)
    return task
