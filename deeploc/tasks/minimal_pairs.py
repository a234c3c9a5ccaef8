"""Minimal pairs: whether the model gives the grammatical sentence a higher probability."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from deeploc.core.adapter import Adapter, ScoresText, TextRequest, TextScore
from deeploc.core.attribution import Term
from deeploc.core.measuring import score_once
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.stimuli import Record

from ._items import items_hash, read_items

NAME = "minimal-pairs"


class MinimalPairs:
    """``accuracy`` (0-1) and ``margin`` (nats, good minus bad) over pairs of sentences.

    A pair is right if the whole good sentence has the higher log-probability. Items that carry a
    ``UID`` (a suite, as in BLiMP) are also reported per suite, as ``CONDITION/UID``.

    Source: Warstadt et al. (2020), BLiMP, TACL 8, 377-392.

    Parameters
    ----------
    pairs
        Condition -> its items, with the columns ``sentence_good`` and ``sentence_bad``.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"accuracy": "higher", "margin": "higher"}
    chance: Mapping[str, float] = {"accuracy": 0.5}
    needs: tuple[type, ...] = (ScoresText,)

    def __init__(self, pairs: Mapping[str, Sequence[Record]]) -> None:
        self._pairs = pairs
        self._requests = {condition: _sentences(group) for condition, group in pairs.items()}
        self.requests = tuple(
            sentence for sides in self._requests.values() for side in sides for sentence in side
        )
        self.identity = {"items": items_hash(pairs)}

    def prepare(self, adapter: Adapter) -> None:
        """Refuse an adapter that cannot score text."""
        require(adapter, ScoresText, NAME)

    def loss(self) -> list[Term]:
        """Return the mean margin (nats) by which bad sentences are ahead."""
        n = sum(len(good) for good, _ in self._requests.values())
        return [
            Term(sentence, sign / n, per_token=False)
            for good, bad in self._requests.values()
            for side, sign in ((good, 1), (bad, -1))
            for sentence in side
        ]

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return accuracy and margin per condition, and per suite within it."""
        return self.measure_scores(score_once(adapter, self.requests, NAME))

    def measure_scores(self, scores: Mapping[TextRequest, TextScore]) -> list[Measurement]:
        """Return accuracy and margin per condition and suite, given the score of every sentence."""
        measurements = []
        for condition, sides in self._requests.items():
            good, bad = (np.array([scores[text].logprob for text in side]) for side in sides)
            with np.errstate(invalid="ignore"):  # a broken model may give both no probability
                margin = np.nan_to_num(good - bad, nan=0.0, posinf=np.inf, neginf=-np.inf)
            for name, chosen in _groups(condition, self._pairs[condition]).items():
                right = (good > bad)[chosen].astype(np.float64)
                each = np.ones(len(right))
                measurements += [
                    Measurement("accuracy", name, right, each),
                    Measurement("margin", name, margin[chosen], each),
                ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> MinimalPairs:
    """Return the task over sources of pairs.

    Parameters
    ----------
    options
        Condition -> source of its items, with the columns ``sentence_good`` and ``sentence_bad``.
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
    return MinimalPairs(read_items(NAME, options, ["sentence_good", "sentence_bad"], context))


def _sentences(pairs: Sequence[Record]) -> tuple[list[TextRequest], list[TextRequest]]:
    """Return the good and the bad sentence of every pair."""
    good, bad = (
        [TextRequest("", pair.fields[side]) for pair in pairs]
        for side in ("sentence_good", "sentence_bad")
    )
    return good, bad


def _groups(condition: str, pairs: Sequence[Record]) -> dict[str, Bool[np.ndarray, " item"]]:
    suites = np.array([pair.fields.get("UID", "") for pair in pairs])
    groups = {condition: np.ones(len(pairs), dtype=bool)}
    if len(names := sorted(set(suites) - {""})) > 1:
        groups |= {f"{condition}/{name}": suites == name for name in names}
    return groups
