"""Choice: which of several options is the most probable continuation of a prompt."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from deeploc.core.adapter import Adapter, ScoresText, TextRequest, TextScore
from deeploc.core.attribution import Term, mean_terms
from deeploc.core.measuring import score_once
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError

from ._items import items_hash
from ._questions import (
    OPTION_KEYS,
    ContrastQuestions,
    ItemQuestions,
    Question,
    questions_of_contrast,
    questions_of_items,
)

NAME = "choice"

_log = logging.getLogger(__name__)


class Choice:
    """``accuracy`` (0-1) and ``logprob`` (nats) of the right option after a prompt.

    An option's log-probability is the sum over its tokens, given the prompt. Between them is one
    space, or the white space that the prompt ends in, which is scored with the option; prompt and
    option are tokenized together, and scored is every token that the prompt on its own does not
    have. An item is right if the right option is strictly the most probable; a tie is wrong, and
    so is a model that gives nan. ``logprob`` is that of the right option, among all texts and not
    among the options only.

    Guessing has an accuracy of 1 / options, and so has, over all conditions, a model that prefers
    one word whatever the prompt: it has 1 where that word is right and 0 elsewhere, so conditions
    with a word each are to be read together. The sum is not divided by length, which favours
    options of fewer tokens; choose words of equally many.

    Parameters
    ----------
    questions
        Condition -> its questions.
    prompt
        The template of the prompts, which is part of the task's identity.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"accuracy": "higher", "logprob": "higher"}
    needs: tuple[type, ...] = (ScoresText,)

    def __init__(self, questions: Mapping[str, Sequence[Question]], prompt: str) -> None:
        self._questions = questions
        self._requests = {c: [q.requests for q in group] for c, group in questions.items()}
        self.requests = tuple(
            request for group in self._requests.values() for options in group for request in options
        )
        self.identity = {"prompt": prompt, "items": items_hash(questions)}
        sizes = [len(q.requests) for group in questions.values() for q in group]
        self.chance = {"accuracy": float(np.mean([1 / size for size in sizes]))}

    def prepare(self, adapter: Adapter) -> None:
        """Warn of options that the model gives the same probability, for one question a condition.

        Raises
        ------
        TaskError
            If the adapter cannot score text, or an option has no token of the model.
        """
        first = [group[0] for group in self._questions.values()]
        scores = score_once(adapter, chain.from_iterable(q.requests for q in first), NAME)
        for question in first:
            values = [_logprob(scores, request) for request in question.requests]
            if len(set(values)) == 1:
                _log.warning(
                    "task %r: to this model the options %s are equally probable after %r; if its "
                    "tokenizer knows none of them, use other words: a tie is never right",
                    NAME,
                    ", ".join(question.options),
                    question.prompt[-60:],
                )

    def loss(self) -> list[Term]:
        """Return the mean negative log-probability (nats) of the right options."""
        right = [q.requests[q.right] for group in self._questions.values() for q in group]
        return mean_terms(right, per_token=False)

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return accuracy and logprob per condition."""
        return self.measure_scores(score_once(adapter, self.requests, NAME))

    def measure_scores(self, scores: Mapping[TextRequest, TextScore]) -> list[Measurement]:
        """Return accuracy and logprob per condition, given the score of every option.

        Raises
        ------
        TaskError
            If an option has no token of the model.
        """
        measurements = []
        for condition, group in self._questions.items():
            logprobs = [
                [_logprob(scores, r) for r in options] for options in self._requests[condition]
            ]
            pairs = list(zip(logprobs, (q.right for q in group), strict=True))
            right = np.array([float(_is_largest(values, at)) for values, at in pairs])
            chosen = np.array([values[at] for values, at in pairs])
            each = np.ones(len(group))
            measurements += [
                Measurement("accuracy", condition, right, each),
                # nan is no probability at all, as the shipped adapters have it
                Measurement(
                    "logprob", condition, np.where(np.isnan(chosen), -np.inf, chosen), each
                ),
            ]
        return measurements


def make(options: Mapping[str, Any], context: TaskContext) -> Choice:
    """Return the task over the contrast's held-out half, or over items of its own.

    Parameters
    ----------
    options
        Where ``options`` maps conditions of the contrast to words, the questions are about the
        stimuli of these conditions, column ``text``, and the word of a stimulus' own condition is
        right. Else every key but ``prompt`` and ``options`` is a condition with the source of its
        items; an item has a column ``answer``, one of its options, and, where no list ``options``
        is given for all of them, a column ``options``, a JSON list of texts.
    context
        Gives the held-out half and how sources are read.

    Raises
    ------
    TaskError
        If there is nothing to choose from, or an item's options or answer are not valid.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    sources = {name: source for name, source in options.items() if name not in OPTION_KEYS}
    rest = {name: value for name, value in options.items() if name in OPTION_KEYS}
    if isinstance(rest.get("options"), Mapping):
        if sources:
            raise TaskError(
                f"task {NAME!r} has words for conditions of the contrast and items of its own, "
                f"{next(iter(sources))!r}; leave these out, or write options as a list"
            )
        words = ContrastQuestions.model_validate(rest)
        return Choice(questions_of_contrast(NAME, words, context), words.prompt)
    if not sources:
        raise TaskError(
            f"task {NAME!r} has nothing to choose from; give a word for each condition, "
            f"`{NAME}: {{options: {{CONDITION: WORD, OTHER: WORD}}}}`, or items with a column "
            f"answer, `{NAME}: {{NAME: {{file: ITEMS.jsonl}}}}` or --task {NAME}=ITEMS.jsonl"
        )
    valid = ItemQuestions.model_validate(rest)
    return Choice(questions_of_items(NAME, valid, sources, context), valid.prompt)


def _logprob(scores: Mapping[TextRequest, TextScore], request: TextRequest) -> float:
    """Return the log-probability (nats) of an option, which must have a token."""
    score = scores[request]
    if not score.n_tokens:
        raise TaskError(
            f"task {NAME!r}: after {request.prompt[-60:]!r} the option "
            f"{request.completion.strip()!r} is no token of this model; use words that it knows"
        )
    return score.logprob


def _is_largest(values: Sequence[float], at: int) -> bool:
    """Return whether the value at ``at`` is larger than all others; nan is larger than none."""
    return all(values[at] > value for number, value in enumerate(values) if number != at)
