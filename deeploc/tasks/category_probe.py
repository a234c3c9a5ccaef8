"""Category probe: whether what the model passes to its classifier still tells conditions apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeploc.adapter import Adapter
from deeploc.errors import TaskError
from deeploc.results import Better, Measurement
from deeploc.task import TaskContext

from ._probe import Probe, fit
from ._shown import Shown, held_out, prepared

NAME = "category-probe"


class CategoryProbe:
    """``accuracy`` (0-1) of a linear probe that names the condition of a stimulus.

    The probe is trained on the features of the intact model for the stimuli that localized, and
    tested on the held-out half as it is, without fitting again, under every ablation. So it shows
    whether the difference between conditions is still where the intact model had it. Conditions
    weigh the same whatever their size: chance is 1 / conditions. A stimulus whose features are
    no longer finite is named wrong.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"accuracy": "higher"}

    def __init__(self, training: Shown, testing: Shown) -> None:
        self._training = training
        self._testing = testing
        self._probe: Probe | None = None
        self.identity = {"train": training.identity(), "items": testing.identity()}

    def prepare(self, adapter: Adapter) -> None:
        """Train the probe on the intact model."""
        features = self._training.answers(adapter, NAME).features
        groups = list(self._training.rows.values())
        labels = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
        self._probe = fit(features[np.concatenate(groups)], labels, len(groups))

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the accuracy per condition."""
        probe = prepared(self._probe, NAME)
        told = probe.predict(self._testing.answers(adapter, NAME).features)
        return [
            Measurement(
                "accuracy", name, (told[rows] == number).astype(np.float64), np.ones(len(rows))
            )
            for number, (name, rows) in enumerate(self._testing.rows.items())
        ]


def make(options: Mapping[str, Any], context: TaskContext) -> CategoryProbe:
    """Return the task over all conditions of the contrast, or over ``conditions`` in ``options``.

    With ``split: none``, where every stimulus both localizes and evaluates, a random half of
    each condition trains the probe and the other tests it.
    """
    testing = held_out(NAME, options, context.held_out)
    names = list(testing.rows)
    if len(names) < 2:
        raise TaskError(
            f"task {NAME!r} needs at least two conditions to tell apart; it has {', '.join(names)}"
        )
    if dict(context.localizing) == dict(context.held_out):
        training, testing = testing.halves(context.seed)
        testing = testing.only(NAME, names)
    else:
        training = Shown.of(context.localizing).only(NAME, names)
    return CategoryProbe(training, testing)
