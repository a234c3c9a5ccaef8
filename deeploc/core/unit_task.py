"""Protocol of a task that is measured on units: what they tell of something outside the model.

A `Task` asks what a model can no longer do once units are ablated. A `UnitTask` asks what the
activations of some units of the intact model tell, e.g. of measured responses of a brain; nothing
is ablated, so it has no outcome that an ablation could damage, and no part in the verdict. The
same masks are compared: the selected units, the doses, and their controls.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from deeploc.core.ablation import selected_units
from deeploc.core.results import Better, Measurement
from deeploc.core.task import Reading, Task
from deeploc.core.units import Layout, UnitMask

READ = "read"
"""What the column ``mode`` says of units that were read; nothing was ablated."""


@runtime_checkable
class UnitTask(Protocol):
    """Something that is measured on the activations of some units of the intact model.

    Made by the entry point's ``make(options, context)``, as a `Task` is.
    """

    @property
    def name(self) -> str:
        """The name the task has in contrast files and in scores.csv."""
        ...

    @property
    def metrics(self) -> Mapping[str, Better]:
        """Metric name -> whether ``higher`` or ``lower`` values are better, the main one first."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the numbers (options, content hash of the data), as JSON."""
        ...

    def reading(self, layout: Layout) -> Reading:
        """Return what is read of the intact model, once for all masks.

        Parameters
        ----------
        layout
            The sites of the run; the reading is of all of them.
        """
        ...

    def measure_units(self, activations: Float[np.ndarray, "stimulus unit"]) -> list[Measurement]:
        """Return the measurements, given the activations of the units of one mask.

        Parameters
        ----------
        activations
            A row for each stimulus of ``reading``, a column for each unit of the mask.
        """
        ...


@runtime_checkable
class GivesNotices(Protocol):
    """A task with something to say before it is measured, e.g. what its data do not tell."""

    @property
    def notices(self) -> Sequence[str]:
        """Sentences for whoever runs it; they are kept in the manifest."""
        ...


AnyTask = Task | UnitTask


def split_tasks(tasks: Iterable[AnyTask]) -> tuple[list[Task], list[UnitTask]]:
    """Return the tasks that are measured under ablation, and those that are measured on units.

    Parameters
    ----------
    tasks
        Tasks of both kinds.
    """
    listed = list(tasks)
    on_units = [task for task in listed if isinstance(task, UnitTask)]
    return [task for task in listed if not isinstance(task, UnitTask)], on_units


def notices_of(tasks: Iterable[AnyTask]) -> list[str]:
    """Return what tasks have to say before they are measured.

    Parameters
    ----------
    tasks
        Those that are no `GivesNotices` have nothing to say.
    """
    return [each for task in tasks if isinstance(task, GivesNotices) for each in task.notices]


def units_key(mask: UnitMask) -> str:
    """Return a hash of the units that are read: equal keys, equal units.

    Parameters
    ----------
    mask
        The units.
    """
    digest = hashlib.sha256(READ.encode())
    for site, _, _ in selected_units(mask):
        digest.update(site)
    return digest.hexdigest()[:32]
