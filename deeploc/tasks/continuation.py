"""Continuation: whether the model completes a prompt as expected."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeploc.core.adapter import Adapter, ScoresText, TextRequest
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require

from ._items import fingerprint, read_items

NAME = "continuation"


class Continuation:
    """``exact-match`` (0-1) and ``nll`` (nats per token) of expected completions.

    Exact match is greedy: every token of the completion is the model's most probable one given
    the prompt and the tokens before, which is when greedy decoding would write the completion.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"exact-match": "higher", "nll": "lower"}

    def __init__(self, requests: Mapping[str, Sequence[TextRequest]]) -> None:
        self._requests = requests
        self.identity = {"items": fingerprint(requests)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return exact match and nll per condition."""
        scorer = require(adapter, ScoresText, NAME)
        measurements = []
        for condition, requests in self._requests.items():
            scores = scorer.score(requests)
            exact = np.array([float(score.greedy) for score in scores])
            nll = np.array([-score.logprob for score in scores])
            tokens = np.array([float(score.n_tokens) for score in scores])
            measurements += [
                Measurement("exact-match", condition, exact, np.ones(len(exact))),
                Measurement("nll", condition, nll, tokens),
            ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> Continuation:
    """Return the task over ``options`` (condition -> source of prompts and completions)."""
    rows = read_items(NAME, options, ["prompt", "completion"], context)
    return Continuation(
        {
            condition: [TextRequest(r.fields["prompt"], r.fields["completion"]) for r in group]
            for condition, group in rows.items()
        }
    )
