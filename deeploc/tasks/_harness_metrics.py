"""Metrics of lm-evaluation-harness as sums over items: which can be had, and their parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeploc.core.results import Measurement

from ._harness_library import library

Part = tuple[float, float]
"""What an item adds to the amount and to the weight of a `Measurement`."""


@dataclass(frozen=True)
class Rule:
    """How the harness's aggregation of a metric over items is written as a ratio of sums.

    Parameters
    ----------
    part
        What an item adds, given what the harness's ``process_results`` says of it.
    exponential
        Whether the metric is the exponential of the ratio.
    """

    part: Callable[[Any], Part]
    exponential: bool = False


def _plain(value: Any) -> Part:
    return float(value), 1.0


def _unless_nan(value: Any) -> Part:
    return (0.0, 0.0) if np.isnan(value) else (float(value), 1.0)


def _negative(value: Any) -> Part:
    return -float(value), 1.0


def _negative_weighted(value: Any) -> Part:
    logprob, weight = value
    return -float(logprob), float(weight)


def _bits(value: Any) -> Part:
    logprob, weight = value
    return -float(logprob) / float(np.log(2)), float(weight)


def _brier(value: Any) -> Part:
    """Return the Brier score of one item: squared distance of the probabilities from the truth."""
    right, probabilities = value
    truth = np.eye(len(probabilities))[int(right)]
    return float(((np.asarray(probabilities) - truth) ** 2).sum()), 1.0


RULES: Mapping[str, Rule] = {
    "mean": Rule(_plain),
    "nanmean": Rule(_unless_nan),
    "perplexity": Rule(_negative, exponential=True),
    "weighted_perplexity": Rule(_negative_weighted, exponential=True),
    "bits_per_byte": Rule(_bits),
    "brier_score": Rule(_brier),
}
"""Aggregation of ``lm_eval/api/metrics.py`` -> the same as a ratio of sums. What has no such form
(F1, correlations, BLEU) has no value per item, and so neither an interval nor a bootstrap here."""


def rule_of(aggregation: Any) -> Rule | None:
    """Return how an aggregation is a ratio of sums over items; None if it is none.

    Parameters
    ----------
    aggregation
        A function of the harness, or of a task.
    """
    if aggregation is np.mean:
        return RULES["mean"]
    get = library("lm_eval.api.registry").get_aggregation
    return next((rule for name, rule in RULES.items() if get(name) is aggregation), None)


def measurement(
    metric: str, condition: str, values: Sequence[Any], rule: Rule
) -> Measurement | None:
    """Return a metric item by item; None where what the harness says of an item is no number.

    Parameters
    ----------
    metric, condition
        What was measured, and of which task of the harness.
    values
        What ``process_results`` says of every item.
    rule
        Of the metric.
    """
    try:
        parts = np.array([rule.part(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return Measurement(metric, condition, parts[:, 0], parts[:, 1], rule.exponential)
