"""The tasks that a contrast names, made: their options checked, their items read."""

from pydantic import ValidationError

from deeploc import plugins
from deeploc.contrast import Contrast
from deeploc.errors import ContrastError, PluginError, TaskError
from deeploc.manifest import Setup, Stimuli
from deeploc.task import Task, TaskContext


def make_tasks(contrast: Contrast, setup: Setup, halves: tuple[Stimuli, Stimuli]) -> list[Task]:
    """Return the tasks that a contrast names, their items read.

    ``halves`` are the stimuli that localize and those that evaluate.

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
        setup.seed,
        setup.limit,
        localizing=localizing,
        read=contrast.read,
        strict=setup.strict,
    )
    made: dict[str, Task] = {}
    for number, (name, options) in enumerate(contrast.tasks):
        if name in made:
            message = f"task {name!r} is named twice; give it several conditions instead"
            raise contrast.fault(("evaluate", number), message)
        try:
            made[name] = plugins.load("deeploc.tasks", name)(options, context)
        except ValidationError as error:
            raise contrast.faults(error, ("evaluate", number, name)) from None
        except (PluginError, TaskError, ContrastError) as error:
            raise contrast.fault(("evaluate", number, name), str(error)) from error
    return list(made.values())
