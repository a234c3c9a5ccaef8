"""Category probe: whether what the model passes to its classifier still tells conditions apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.core.adapter import Adapter, Classifies
from deeploc.core.task import TaskContext, require
from deeploc.stimuli import Stimulus

from ._probe import ConditionProbe, probe_halves

NAME = "category-probe"


def make(options: Mapping[str, Any], context: TaskContext) -> ConditionProbe:
    """Return the probe over all conditions of the contrast, or over ``conditions`` in ``options``.

    All of a half is shown whichever conditions count, so that an adapter that remembers its
    answers shares them with the other tasks of classifiers.
    """
    return ConditionProbe(NAME, _features, *probe_halves(NAME, options, context))


def _features(
    adapter: Adapter, stimuli: Sequence[Stimulus]
) -> Float[np.ndarray, "stimulus feature"]:
    return require(adapter, Classifies, NAME).classify(stimuli).features
