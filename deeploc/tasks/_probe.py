"""A linear probe that predicts the condition of a stimulus from features of the model."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError

from ._stimulus_set import StimulusSet, held_out, prepared

NO_CLASS = -1
"""Predicted where features are not finite: no class, so that the prediction is never right."""

_ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""A standard deviation below this multiple of the largest value is float32 rounding, not data."""

_TOLERANCE = 1e-8
"""Largest entry of the mean loss's gradient at which the solver stops."""

_STEPS = 10_000
"""Most steps of the solver; it needs some hundreds."""


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Parameters
    ----------
    varying
        Which features vary over the training items; the others are not used.
    model
        The fitted pipeline of scikit-learn: standardisation and logistic regression.
    """

    varying: Bool[np.ndarray, " feature"]
    model: Any

    def predict(self, features: Float[np.ndarray, "item feature"]) -> Int[np.ndarray, " item"]:
        """Return the most probable class of every item, `NO_CLASS` where a feature is not finite.

        Of equally probable classes it is the first.
        """
        finite = np.isfinite(features).all(axis=1)
        used = np.where(finite[:, None] & self.varying, features, 0.0).astype(np.float64)
        return np.where(finite, self.model.predict(used), NO_CLASS)


def fit(features: Float[np.ndarray, "item feature"], labels: Int[np.ndarray, " item"]) -> Probe:
    """Return the probe with the smallest penalised loss over the training items.

    The loss is the summed softmax cross-entropy (nats), each item weighted by ``items / (classes *
    items of its class)`` so that no class is preferred for being large, plus ``|weights|² / 2``
    over standardised features; the intercepts are free. This is the most probable probe if
    weights are standard normal beforehand: a strength fixed before any data is seen. A feature
    that is constant but for float32 rounding gets no weight.

    Parameters
    ----------
    features
        Finite features of the training items.
    labels
        The class of every item, 0 to classes - 1; at least two classes.

    Raises
    ------
    TaskError
        If a feature is not finite, or the solver does not converge.

    References
    ----------
    Bishop (2006), Pattern Recognition and Machine Learning, 4.3.4.
    """
    x = features.astype(np.float64)
    if bad := int((~np.isfinite(x)).any(axis=1).sum()):
        raise TaskError(
            f"a probe cannot be trained: the features of {bad} of {len(x)} stimuli are not finite "
            "in the intact model; try --dtype float32"
        )
    varying = x.std(axis=0) > _ROUNDING * np.abs(x).max(axis=0)
    return Probe(varying, _fitted(np.where(varying, x, 0.0), labels))


def _fitted(x: Float64[np.ndarray, "item feature"], labels: Int[np.ndarray, " item"]) -> Any:
    # imported where it is needed: it takes most of a second, and most commands fit no probe
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Two classes get one weight vector there, the difference v of the two that softmax has, which
    # are -v/2 and v/2: their penalty |v|²/4 is half of that of one vector, |v|²/2.
    strength = 2.0 if len(np.unique(labels)) == 2 else 1.0
    regression = LogisticRegression(
        C=strength, class_weight="balanced", tol=_TOLERANCE, max_iter=_STEPS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return make_pipeline(StandardScaler(), regression).fit(x, labels)
        except ConvergenceWarning as warning:
            raise TaskError(
                f"a probe was not trained to its optimum: {str(warning).splitlines()[0]}; "
                "are features of the model very large?"
            ) from None


class ConditionProbe:
    """A linear probe that predicts the condition of a stimulus from features of the model.

    It is trained on the features of the intact model for ``training`` and tested, without being
    fitted again, on those for ``testing`` under every ablation. So it measures whether the
    difference between conditions is still where the intact model had it. Conditions weigh the
    same whatever their size: chance is 1 / conditions. A stimulus whose features are not finite
    counts as wrong.

    Parameters
    ----------
    task
        Name of the task, for messages.
    training, testing
        The stimuli of the same conditions, in the same order of conditions.
    """

    metrics: Mapping[str, Better] = {"accuracy": "higher"}

    def __init__(self, task: str, training: StimulusSet, testing: StimulusSet) -> None:
        self.training = training
        self.testing = testing
        self.identity = {"train": training.identity(), "items": testing.identity()}
        self._task = task
        self._fitted: Probe | None = None

    def learn(self, features: Float[np.ndarray, "stimulus feature"]) -> None:
        """Train the probe on the features of the stimuli in ``training``, one row each.

        Raises
        ------
        TaskError
            If a feature is not finite, or the solver does not converge.
        """
        groups = list(self.training.rows.values())
        labels = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
        self._fitted = fit(features[np.concatenate(groups)], labels)

    def accuracy(self, features: Float[np.ndarray, "stimulus feature"]) -> list[Measurement]:
        """Return ``accuracy`` (0-1) per condition on the features of the stimuli in ``testing``.

        Raises
        ------
        TaskError
            If the probe was not trained.
        """
        predicted = prepared(self._fitted, self._task).predict(features)
        return [
            Measurement(
                "accuracy", name, (predicted[rows] == number).astype(np.float64), np.ones(len(rows))
            )
            for number, (name, rows) in enumerate(self.testing.rows.items())
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
        Options of the task; ``conditions`` are those to distinguish, default all.
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
            f"task {task!r} needs at least two conditions to distinguish; it has {', '.join(names)}"
        )
    if dict(context.localizing) == dict(context.held_out):
        training, testing = testing.halves(context.seed)
    else:
        training = StimulusSet.of(context.localizing)
    return training.only(task, names), testing.only(task, names)
