"""Continuation: whether the model completes a prompt as expected."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from deeploc.core.adapter import Adapter, ScoresText, TextRequest, TextScore
from deeploc.core.attribution import Term, mean_terms
from deeploc.core.measuring import score_once
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require

from ._items import items_hash, read_items

NAME = "continuation"


class Continuation:
    """``exact-match`` (0-1) and ``nll`` (nats per token) of expected completions.

    Exact match is greedy: every token of the completion is the model's most probable one given
    the prompt and the tokens before, which is when greedy decoding would write the completion.

    Parameters
    ----------
    requests
        Condition -> its prompts with their completions.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"exact-match": "higher", "nll": "lower"}
    needs: tuple[type, ...] = (ScoresText,)

    def __init__(self, requests: Mapping[str, Sequence[TextRequest]]) -> None:
        self._requests = requests
        self.requests = tuple(chain.from_iterable(requests.values()))
        self.identity = {"items": items_hash(requests)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def loss(self) -> list[Term]:
        """Return the mean nll of the completions."""
        return mean_terms(self.requests)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return exact match and nll per condition."""
        return self.measure_scores(score_once(adapter, self.requests, NAME))

    def measure_scores(self, scores: Mapping[TextRequest, TextScore]) -> list[Measurement]:
        """Return exact match and nll per condition, given the score of every completion."""
        measurements = []
        for condition, requests in self._requests.items():
            exact = np.array([float(scores[request].greedy) for request in requests])
            nll = np.array([-scores[request].logprob for request in requests])
            tokens = np.array([float(scores[request].n_tokens) for request in requests])
            measurements += [
                Measurement("exact-match", condition, exact, np.ones(len(exact))),
                Measurement("nll", condition, nll, tokens),
            ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> Continuation:
    """Return the task over sources of prompts and completions.

    Parameters
    ----------
    options
        Condition -> source of its items, with the columns ``prompt`` and ``completion``.
    context
        Says how sources are read.

    Raises
    ------
    TaskError
        If there are no items, or one lacks a column.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the description of a source is not valid; the caller adds file and line.
    """
    rows = read_items(NAME, options, ["prompt", "completion"], context)
    return Continuation(
        {
            condition: [TextRequest(r.fields["prompt"], r.fields["completion"]) for r in group]
            for condition, group in rows.items()
        }
    )
