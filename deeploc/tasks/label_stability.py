"""Label stability: whether the model still predicts of a stimulus what it predicted intact."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import log_softmax

from deeploc.core.adapter import Adapter, Classifies
from deeploc.core.attribution import Term, mean_terms
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.errors import TaskError

from ._stimulus_set import StimulusSet, held_out, prepared

NAME = "label-stability"

Logits = Float[np.ndarray, "stimulus class"]


class LabelStability:
    """``unchanged`` (share, 0-1) and ``kl`` (nats) of predictions against the intact model's.

    A prediction is unchanged if its most probable class is still the same; kl is the divergence
    KL(intact ‖ now) of the probabilities of all classes. It needs no labels, and the intact model
    has 1 and 0. Where a prediction is not finite, it is changed and kl is infinite.

    Source: Kullback & Leibler (1951), Ann. Math. Stat. 22, 79-86.

    Parameters
    ----------
    presented
        The stimuli, and the rows of the conditions that are measured.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"unchanged": "higher", "kl": "lower"}
    needs: tuple[type, ...] = (Classifies,)

    def __init__(self, presented: StimulusSet) -> None:
        self._presented = presented
        self._intact: Logits | None = None
        self.identity = {"items": presented.identity()}

    def check(self, adapter: Adapter) -> None:
        """Refuse a model of one class, where the model names its classes.

        Raises
        ------
        TaskError
            If the model does not classify, or has one class.
        """
        if classes := require(adapter, Classifies, NAME).classes:
            _require_classes(len(classes), adapter)

    def prepare(self, adapter: Adapter) -> None:
        """Keep the logits of the intact model.

        Raises
        ------
        TaskError
            If the model does not classify, has one class, or its logits are not finite.
        """
        intact = self._presented.classified(adapter, NAME).logits
        _require_classes(intact.shape[1], adapter)
        if bad := int((~_finite(intact)).sum()):
            raise TaskError(
                f"task {NAME!r}: the intact model's logits are not finite for {bad} of "
                f"{len(intact)} stimuli, so that nothing can be compared with them; "
                "try --dtype float32"
            )
        self._intact = intact

    def loss(self) -> list[Term]:
        """Return the mean cross entropy of the class that the intact model finds most probable."""
        groups = self._presented.groups()
        return mean_terms([stimulus for group in groups.values() for stimulus in group])

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return unchanged and kl per condition."""
        intact = prepared(self._intact, NAME)
        now = self._presented.classified(adapter, NAME).logits
        unchanged = (_finite(now) & (now.argmax(axis=1) == intact.argmax(axis=1))).astype(float)
        kl = _divergence(intact, now)
        measurements = []
        for condition, rows in self._presented.rows.items():
            each = np.ones(len(rows))
            measurements += [
                Measurement("unchanged", condition, unchanged[rows], each),
                Measurement("kl", condition, kl[rows], each),
            ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> LabelStability:
    """Return the task over the held-out half.

    Parameters
    ----------
    options
        ``conditions`` are those that are measured; default: all.
    context
        Gives the held-out half.

    Raises
    ------
    TaskError
        If a condition does not exist or has no stimulus.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    return LabelStability(held_out(NAME, options, context.held_out))


def _require_classes(n_classes: int, adapter: Adapter) -> None:
    if n_classes < 2:
        raise TaskError(
            f"task {NAME!r} needs a model with at least two classes; "
            f"{adapter.identity.get('model', 'this model')} has one; leave the task out"
        )


def _finite(logits: Logits) -> Bool[np.ndarray, " stimulus"]:
    finite: Bool[np.ndarray, " stimulus"] = np.isfinite(logits).all(axis=1)
    return finite


def _divergence(intact: Logits, now: Logits) -> Float64[np.ndarray, " stimulus"]:
    known = np.where(_finite(now)[:, None], now, 0.0)
    log_p = log_softmax(intact.astype(np.float64), axis=1)
    log_q = log_softmax(known.astype(np.float64), axis=1)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    # rounding may leave -1e-17, which no divergence is
    return np.where(_finite(now), np.maximum(kl, 0.0), np.inf)
