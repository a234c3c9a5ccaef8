"""Perplexity: how well the model predicts text, the contrast's own or the user's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeploc.core.adapter import Adapter, ScoresText, TextRequest
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.errors import TaskError

from ._items import fingerprint, read_items

NAME = "perplexity"


class Perplexity:
    """``perplexity``, the exponential of ``nll`` (nats per token), per condition.

    Each text is read on its own. Its first token is scored only where the tokenizer puts a
    beginning-of-text token before it.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"perplexity": "lower", "nll": "lower"}

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self._requests = {c: [TextRequest("", t) for t in group] for c, group in texts.items()}
        self.identity = {"items": fingerprint(texts)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return perplexity and nll per condition."""
        scorer = require(adapter, ScoresText, NAME)
        measurements = []
        for condition, requests in self._requests.items():
            scores = scorer.score(requests)
            nll = np.array([-score.logprob for score in scores])
            tokens = np.array([float(score.n_tokens) for score in scores])
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
    """Return the task over ``options`` (condition -> source), else over the held-out half.

    Without options the texts are the positive conditions of the contrast.
    """
    if options:
        rows = read_items(NAME, options, ["text"], context)
        return Perplexity({c: [row.fields["text"] for row in group] for c, group in rows.items()})
    held_out = {c: context.held_out[c] for c in context.positive}
    return Perplexity({c: [str(s.content) for s in group] for c, group in held_out.items()})
