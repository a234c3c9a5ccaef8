"""A linear probe that tells conditions apart by what a task reads of the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.optimize import minimize
from scipy.special import log_softmax

from deeploc.core.adapter import Adapter
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

from ._stimulus_set import StimulusSet, held_out, prepared

NO_CLASS = -1
"""What is predicted where features are not finite: no class, so that it is never right."""

_ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""A standard deviation below this multiple of the largest value is float32 rounding, not data."""

_SOLVED, _ACCEPTED = 1e-8, 1e-6
"""Largest entry of the mean loss's gradient: what the solver aims at, and what will do."""

Objective = Callable[[Float64[np.ndarray, " weight"]], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Probe:
    """A fitted probe; ``mean`` and ``scale`` standardise the features that it is given."""

    mean: Float64[np.ndarray, " feature"]
    scale: Float64[np.ndarray, " feature"]
    weights: Float64[np.ndarray, "feature class"]
    intercept: Float64[np.ndarray, " class"]

    def predict(self, features: Float[np.ndarray, "item feature"]) -> Int[np.ndarray, " item"]:
        """Return the most probable class of every item, `NO_CLASS` where a feature is not finite.

        Of equally probable classes it is the first.
        """
        finite = np.isfinite(features).all(axis=1)
        known = np.where(finite[:, None], features, 0.0)
        logits = (known - self.mean) / self.scale @ self.weights + self.intercept
        return np.where(finite, logits.argmax(axis=1), NO_CLASS)


def fit(
    features: Float[np.ndarray, "item feature"],
    labels: Int[np.ndarray, " item"],
    n_classes: int,
) -> Probe:
    """Return the probe with the smallest penalised loss; every class needs an item.

    The loss is the summed cross-entropy (nats), each item weighted by ``items / (classes * items
    of its class)`` so that no class is preferred for being large, plus ``|weights|² / 2`` over
    standardised features; the intercepts are free. This is the most probable probe if weights are
    standard normal beforehand, and what ``LogisticRegression(C=1, class_weight="balanced")`` of
    scikit-learn fits: a strength fixed before any data is seen. The problem is convex, the
    optimum one; it is found by L-BFGS from zero. A constant feature gets no weight.

    Raises
    ------
    TaskError
        If a feature is not finite, or the optimum is not reached.

    Source: Bishop (2006), Pattern Recognition and Machine Learning, 4.3.4; Byrd et al. (1995),
    SIAM J. Sci. Comput. 16, 1190-1208.
    """
    x = features.astype(np.float64)
    if bad := int((~np.isfinite(x)).any(axis=1).sum()):
        raise TaskError(
            f"a probe cannot be trained: the features of {bad} of {len(x)} stimuli are not finite "
            "in the intact model; try --dtype float32"
        )
    mean, spread = x.mean(axis=0), x.std(axis=0)
    constant = spread <= _ROUNDING * np.abs(x).max(axis=0)
    scale = np.where(constant, 1.0, spread)
    z = np.where(constant, 0.0, (x - mean) / scale)
    solution = _minimum(_objective(z, labels, n_classes), (x.shape[1] + 1, n_classes))
    return Probe(mean, scale, solution[:-1], solution[-1])


def _objective(
    z: Float64[np.ndarray, "item feature"], labels: Int[np.ndarray, " item"], n_classes: int
) -> Objective:
    """Return the penalised loss per item, and its gradient, as a function of all weights.

    The weights are ``(feature, class)``, flattened, with the intercepts as a last feature.
    """
    n = len(z)
    weight = n / (n_classes * np.bincount(labels, minlength=n_classes)[labels])
    target = np.eye(n_classes)[labels] * weight[:, None]
    inputs = np.column_stack([z, np.ones(n)])
    penalised = np.ones((inputs.shape[1], 1))
    penalised[-1] = 0.0

    def loss(flat: Float64[np.ndarray, " weight"]) -> tuple[float, np.ndarray]:
        weights = flat.reshape(-1, n_classes)
        logp = log_softmax(inputs @ weights, axis=1)
        shrunk = penalised * weights
        value = (0.5 * (shrunk * shrunk).sum() - (target * logp).sum()) / n
        slope = inputs.T @ (weight[:, None] * np.exp(logp) - target) + shrunk
        return float(value), slope.ravel() / n

    return loss


def _minimum(loss: Objective, shape: tuple[int, int]) -> Float64[np.ndarray, "feature class"]:
    found = minimize(
        loss,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        # ftol 0: only the gradient decides, else the solver stops where the loss is merely flat
        options={"gtol": _SOLVED, "ftol": 0.0, "maxiter": 10_000, "maxfun": 20_000},
    )
    if (slope := float(np.abs(found.jac).max())) > _ACCEPTED:
        raise TaskError(
            f"a probe was not trained to its optimum: its slope is {slope:.1e} after {found.nit} "
            f"steps ({_ACCEPTED:g} is needed); are features of the model very large?"
        )
    return np.asarray(found.x).reshape(shape)


Read = Callable[[Adapter, Sequence[Stimulus]], Float[np.ndarray, "stimulus feature"]]
"""Return the features that a model, as it is now, has for stimuli."""


class ConditionProbe:
    """``accuracy`` (0-1) of a linear probe that predicts the condition of a stimulus.

    The probe is trained on the features of the intact model for ``training`` and tested, without
    being fitted again, on those for ``testing`` under every ablation. So it measures whether the
    difference between conditions is still where the intact model had it. Conditions weigh the
    same whatever their size: chance is 1 / conditions. A stimulus whose features are not finite
    counts as wrong.

    Parameters
    ----------
    name
        Name of the task.
    read
        How features are read.
    training, testing
        The stimuli of the same conditions, in the same order of conditions.
    more
        What else decides the numbers, as JSON.
    """

    metrics: Mapping[str, Better] = {"accuracy": "higher"}

    def __init__(
        self,
        name: str,
        read: Read,
        training: StimulusSet,
        testing: StimulusSet,
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
        predicted = probe.predict(self._read(adapter, self._testing.stimuli))
        return [
            Measurement(
                "accuracy", name, (predicted[rows] == number).astype(np.float64), np.ones(len(rows))
            )
            for number, (name, rows) in enumerate(self._testing.rows.items())
        ]


def probe_halves(
    task: str, options: Mapping[str, Any], context: TaskContext
) -> tuple[StimulusSet, StimulusSet]:
    """Return the stimuli that train a probe and those that test it: the halves of the contrast.

    With ``split: none``, where every stimulus both localizes and evaluates, a random half of each
    condition trains and the other tests.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        Options of the task; ``conditions`` are those that are told apart, default all.
    context
        Gives both halves and the seed.

    Raises
    ------
    TaskError
        If there are fewer than two conditions, or one has no stimulus in a half.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
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
        training = StimulusSet.of(context.localizing)
    return training.only(task, names), testing.only(task, names)
