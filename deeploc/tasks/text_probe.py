"""Text probe: whether activations at the last block of a model still separate conditions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.core.adapter import Adapter
from deeploc.core.measuring import read
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.core.task import Reading, TaskContext
from deeploc.core.units import Layout

from ._probe import ConditionProbe, probe_halves
from ._stimulus_set import StimulusSet

NAME = "text-probe"


class TextProbe:
    """``accuracy`` (0-1) of a linear probe that predicts the condition of a stimulus.

    Its features are the signed activations at the last block (where the model has no site of that
    kind, at its last site), read as the contrast reads: pool, tokens, max_tokens. Any adapter can
    be read. Units that are ablated at this very site are read after ablation, which
    `deeploc.testing.check_adapter` checks of every adapter. `ConditionProbe` says how the probe is
    trained and tested.

    Parameters
    ----------
    probe
        The probe, with the stimuli of both halves.
    readout
        How the contrast reads a model.
    """

    name = NAME
    metrics = ConditionProbe.metrics

    def __init__(self, probe: ConditionProbe, readout: Readout) -> None:
        how = {key: getattr(readout, key) for key in ("pool", "tokens", "max_tokens")}
        self.identity = {**probe.identity, "read": how}
        self._probe = probe
        self._readout = readout

    def check(self, adapter: Adapter) -> None:
        """Refuse a model whose last block cannot be read.

        Raises
        ------
        AdapterError
            If positions are units (pool ``none``) and their number is not fixed.
        """
        self._layout(adapter)

    def training(self, adapter: Adapter) -> Reading:
        """Return what the probe is trained on: the localizing half at the last block."""
        return Reading(self._probe.training.stimuli, self._layout(adapter), self._readout)

    def testing(self, adapter: Adapter) -> Reading:
        """Return what the probe is tested on: the held-out half at the last block."""
        return Reading(self._probe.testing.stimuli, self._layout(adapter), self._readout)

    def prepare(self, adapter: Adapter) -> None:
        """Train the probe on the intact model."""
        self.learn(read(adapter, self.training(adapter)))

    def learn(self, activations: Float[np.ndarray, "stimulus unit"]) -> None:
        """Train the probe on the activations of ``training``."""
        self._probe.learn(activations)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return the accuracy per condition."""
        return self.measure_activations(read(adapter, self.testing(adapter)))

    def measure_activations(
        self, activations: Float[np.ndarray, "stimulus unit"]
    ) -> list[Measurement]:
        """Return the accuracy per condition, given the activations of ``testing``."""
        return self._probe.accuracy(activations)

    def _layout(self, adapter: Adapter) -> Layout:
        sites = adapter.sites.sites
        blocks = [site for site in sites if site.kind == "block"]
        layout = Layout(((blocks or sites)[-1],))
        return layout.per_position() if self._readout.pool == "none" else layout


def make(options: Mapping[str, Any], context: TaskContext) -> TextProbe:
    """Return the task over both halves of the contrast.

    Parameters
    ----------
    options
        ``conditions`` are those to distinguish; default: all.
    context
        Gives both halves, and how the contrast reads.

    Raises
    ------
    TaskError
        If there are fewer than two conditions, or one has no stimulus in a half.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    training, testing = (
        StimulusSet.of(half.groups()) for half in probe_halves(NAME, options, context)
    )
    return TextProbe(ConditionProbe(NAME, training, testing), context.read)
