"""Text probe: whether the last site of the model still tells conditions apart."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from deeploc.core.adapter import Adapter
from deeploc.core.readout import Readout
from deeploc.core.task import TaskContext
from deeploc.core.units import Layout
from deeploc.stimuli import Stimulus

from ._probe import ConditionProbe, probe_halves
from ._stimulus_set import StimulusSet

NAME = "text-probe"


def make(options: Mapping[str, Any], context: TaskContext) -> ConditionProbe:
    """Return the probe over all conditions of the contrast, or over ``conditions`` in ``options``.

    Its features are the signed activations at the last block (where the model has no site of
    that kind, at its last site), read as the contrast reads: pool, tokens, max_tokens. That an
    adapter reads is all that it needs. Units that are ablated at this very site are read as they
    are after ablation, which `deeploc.testing.check_adapter` checks of every adapter.
    """
    training, testing = (
        StimulusSet.of(half.groups()) for half in probe_halves(NAME, options, context)
    )
    how = {key: getattr(context.read, key) for key in ("pool", "tokens", "max_tokens")}
    read = partial(_activations, readout=context.read)
    return ConditionProbe(NAME, read, training, testing, {"read": how})


def _activations(
    adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout
) -> Float64[np.ndarray, "stimulus unit"]:
    blocks = [site for site in adapter.sites.sites if site.kind == "block"]
    layout = Layout(((blocks or adapter.sites.sites)[-1],))
    if readout.pool == "none":
        layout = layout.per_position()
    values = np.full((len(stimuli), layout.n_units), np.nan)
    for batch in adapter.activations(stimuli, layout, readout):
        values[batch.indices] = batch.values
    return values
