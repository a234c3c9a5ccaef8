"""Perplexity: how well the model predicts text, the contrast's own or the user's."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from deeploc.core.adapter import Adapter, ScoresText, TextRequest, TextScore
from deeploc.core.attribution import Term, mean_terms
from deeploc.core.measuring import score_once
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.errors import TaskError

from ._items import items_hash, read_items

NAME = "perplexity"


class Perplexity:
    """``perplexity``, the exponential of ``nll`` (nats per token), per condition.

    Each text is scored on its own. Its first token is scored only where the tokenizer puts a
    beginning-of-text token before it.

    Parameters
    ----------
    texts
        Condition -> its texts.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"perplexity": "lower", "nll": "lower"}
    needs: tuple[type, ...] = (ScoresText,)

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self._requests = {c: [TextRequest("", t) for t in group] for c, group in texts.items()}
        self.requests = tuple(chain.from_iterable(self._requests.values()))
        self.identity = {"items": items_hash(texts)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def loss(self) -> list[Term]:
        """Return the mean nll of the texts."""
        return mean_terms(self.requests)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return perplexity and nll per condition."""
        return self.measure_scores(score_once(adapter, self.requests, NAME))

    def measure_scores(self, scores: Mapping[TextRequest, TextScore]) -> list[Measurement]:
        """Return perplexity and nll per condition, given the score of every text.

        Raises
        ------
        TaskError
            If no text of a condition has a token to predict.
        """
        measurements = []
        for condition, requests in self._requests.items():
            nll = np.array([-scores[request].logprob for request in requests])
            tokens = np.array([float(scores[request].n_tokens) for request in requests])
            if not tokens.any():
                raise TaskError(
                    f"task {NAME!r}: no text of {condition!r} has a token to predict; "
                    "texts need at least two tokens where the model has no beginning-of-text token"
                )
            measurements += [
                Measurement("perplexity", condition, nll, tokens, exponential=True),
                Measurement("nll", condition, nll, tokens),
            ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> Perplexity:
    """Return the task over sources, else over the held-out half.

    Parameters
    ----------
    options
        Condition -> source of its texts; if empty, the texts are those of the positive conditions
        of the contrast.
    context
        Gives the held-out half and how sources are read.

    Raises
    ------
    TaskError
        If an item has no text.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the description of a source is not valid; the caller adds file and line.
    """
    if options:
        rows = read_items(NAME, options, ["text"], context)
        return Perplexity({c: [row.fields["text"] for row in group] for c, group in rows.items()})
    stimuli = {c: context.held_out[c] for c in context.positive}
    return Perplexity({c: [str(s.content) for s in group] for c, group in stimuli.items()})
