"""Category probe: whether the input of a model's classifier still separates conditions."""

from collections.abc import Mapping
from typing import Any

from deeploc.core.adapter import Adapter, Classifies
from deeploc.core.results import Measurement
from deeploc.core.task import TaskContext

from ._probe import ConditionProbe, probe_halves

NAME = "category-probe"


class CategoryProbe:
    """``accuracy`` (0-1) of a linear probe that predicts the condition of a stimulus.

    Its features are the input of the model's last layer; `ConditionProbe` says how it is trained
    and tested.

    Parameters
    ----------
    probe
        The probe, with the stimuli of both halves.
    """

    name = NAME
    metrics = ConditionProbe.metrics
    needs: tuple[type, ...] = (Classifies,)

    def __init__(self, probe: ConditionProbe) -> None:
        self.identity = probe.identity
        self._probe = probe

    def prepare(self, adapter: Adapter) -> None:
        """Train the probe on the intact model."""
        self._probe.learn(self._probe.training.classified(adapter, NAME).features)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the accuracy per condition."""
        return self._probe.accuracy(self._probe.testing.classified(adapter, NAME).features)


def make(options: Mapping[str, Any], context: TaskContext) -> CategoryProbe:
    """Return the task over both halves of the contrast.

    All stimuli of a half are presented whichever conditions are distinguished, so that an adapter
    that keeps its last predictions shares them with the other tasks of classifiers.

    Parameters
    ----------
    options
        ``conditions`` are those to distinguish; default: all.
    context
        Gives both halves.

    Raises
    ------
    TaskError
        If there are fewer than two conditions, or one has no stimulus in a half.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    return CategoryProbe(ConditionProbe(NAME, *probe_halves(NAME, options, context)))
