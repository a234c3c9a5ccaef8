"""Minimal pairs: whether the model finds the grammatical sentence of a pair more probable."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from deeploc.core.adapter import Adapter, ScoresText, TextRequest
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.stimuli import Record

from ._items import fingerprint, read_items

NAME = "minimal-pairs"


class MinimalPairs:
    """``accuracy`` (0-1) and ``margin`` (nats, good minus bad) over pairs of sentences.

    A pair is right if the whole good sentence has the higher log-probability. Items that carry a
    ``UID`` (a suite, as in BLiMP) are also reported per suite, as ``CONDITION/UID``.

    Source: Warstadt et al. (2020), BLiMP, TACL 8, 377-392.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"accuracy": "higher", "margin": "higher"}

    def __init__(self, pairs: Mapping[str, Sequence[Record]]) -> None:
        self._pairs = pairs
        self.identity = {"items": fingerprint(pairs)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return accuracy and margin per condition, and per suite within it."""
        scorer = require(adapter, ScoresText, NAME)
        measurements = []
        for condition, pairs in self._pairs.items():
            good, bad = _logprobs(scorer, pairs)
            with np.errstate(invalid="ignore"):  # a broken model may give both no probability
                margin = np.nan_to_num(good - bad, nan=0.0, posinf=np.inf, neginf=-np.inf)
            for name, chosen in _groups(condition, pairs).items():
                right = (good > bad)[chosen].astype(np.float64)
                each = np.ones(len(right))
                measurements += [
                    Measurement("accuracy", name, right, each),
                    Measurement("margin", name, margin[chosen], each),
                ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> MinimalPairs:
    """Return the task over ``options`` (condition -> source of pairs)."""
    return MinimalPairs(read_items(NAME, options, ["sentence_good", "sentence_bad"], context))


def _logprobs(scorer: ScoresText, pairs: Sequence[Record]) -> Float[np.ndarray, "2 item"]:
    both = [pair.fields[side] for side in ("sentence_good", "sentence_bad") for pair in pairs]
    scores = scorer.score([TextRequest("", text) for text in both])
    return np.array([score.logprob for score in scores]).reshape(2, -1)


def _groups(condition: str, pairs: Sequence[Record]) -> dict[str, Bool[np.ndarray, " item"]]:
    suites = np.array([pair.fields.get("UID", "") for pair in pairs])
    groups = {condition: np.ones(len(pairs), dtype=bool)}
    if len(names := sorted(set(suites) - {""})) > 1:
        groups |= {f"{condition}/{name}": suites == name for name in names}
    return groups
