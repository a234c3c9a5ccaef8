"""A linear probe that tells conditions apart, whatever it is that a task reads of the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.core.adapter import Adapter
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

from ._probe import Probe, fit
from ._shown import Shown, held_out, prepared

Read = Callable[[Adapter, Sequence[Stimulus]], Float[np.ndarray, "stimulus feature"]]
"""What a model, as it is now, makes of stimuli: the features of a probe."""


class ConditionProbe:
    """``accuracy`` (0-1) of a linear probe that names the condition of a stimulus.

    The probe is trained on what ``read`` gives of the intact model for ``training``, and tested
    on ``testing`` as it is, without fitting again, under every ablation. So it shows whether the
    difference between conditions is still where the intact model had it. Conditions weigh the
    same whatever their size: chance is 1 / conditions. A stimulus whose features are no longer
    finite is named wrong. ``more`` is what else decides the numbers, as JSON.
    """

    metrics: Mapping[str, Better] = {"accuracy": "higher"}

    def __init__(
        self,
        name: str,
        read: Read,
        training: Shown,
        testing: Shown,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._read = read
        self._training = training
        self._testing = testing
        self._probe: Probe | None = None
        self.identity = {"train": training.identity(), "items": testing.identity(), **(more or {})}

    def prepare(self, adapter: Adapter) -> None:
        """Train the probe on the intact model."""
        features = self._read(adapter, self._training.stimuli)
        groups = list(self._training.rows.values())
        labels = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
        self._probe = fit(features[np.concatenate(groups)], labels, len(groups))

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the accuracy per condition."""
        probe = prepared(self._probe, self.name)
        told = probe.predict(self._read(adapter, self._testing.stimuli))
        return [
            Measurement(
                "accuracy", name, (told[rows] == number).astype(np.float64), np.ones(len(rows))
            )
            for number, (name, rows) in enumerate(self._testing.rows.items())
        ]


def halves(task: str, options: Mapping[str, Any], context: TaskContext) -> tuple[Shown, Shown]:
    """Return what trains a probe and what tests it: the two halves of the contrast.

    All conditions count, or the ``conditions`` in ``options``. With ``split: none``, where every
    stimulus both localizes and evaluates, a random half of each condition trains and the other
    tests.

    Raises
    ------
    TaskError
        If there are fewer than two conditions, or one has no stimulus in a half.
    pydantic.ValidationError
        If the options are not as they must be; told with file and line by the caller.
    """
    testing = held_out(task, options, context.held_out)
    names = list(testing.rows)
    if len(names) < 2:
        raise TaskError(
            f"task {task!r} needs at least two conditions to tell apart; it has {', '.join(names)}"
        )
    if dict(context.localizing) == dict(context.held_out):
        training, testing = testing.halves(context.seed)
    else:
        training = Shown.of(context.localizing)
    return training.only(task, names), testing.only(task, names)
