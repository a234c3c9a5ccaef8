"""Answer the harness by any model that scores texts, where it is none of transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeploc.core.adapter import Adapter, Generates, Sampling, ScoresText, TextRequest
from deeploc.core.harness import AnswersHarness, Question
from deeploc.core.measuring import score_once
from deeploc.core.task import require
from deeploc.errors import TaskError

from ._harness_library import NAME, library

_NEW_TOKENS = 256
"""``max_gen_toks`` of the harness where a task does not say."""


def answers_of(
    adapter: Adapter, question: Question, requests: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Return the answer of the model as it is now to every request, in order.

    Parameters
    ----------
    adapter
        The model. One of transformers answers as in the harness itself (`AnswersHarness`), another
        by the text that it scores and generates.
    question
        What is asked.
    requests
        The arguments of every request.

    Raises
    ------
    TaskError
        If the model can neither score nor generate texts.
    """
    if isinstance(adapter, AnswersHarness):
        return adapter.harness_answers(question, requests)
    if question == "generate_until":
        writer = require(adapter, Generates, NAME)
        return [_generated(writer, prompt, options or {}) for prompt, options in requests]
    whole = question == "loglikelihood_rolling"
    asked = [TextRequest("", *r) if whole else TextRequest(*r) for r in requests]
    scores = score_once(adapter, asked, NAME)
    found = [scores[each] for each in asked]
    return [s.logprob if whole else (s.logprob, s.greedy) for s in found]


def needed(questions: Sequence[Question]) -> tuple[type, ...]:
    """Return the abilities that a model needs to be asked.

    Parameters
    ----------
    questions
        What is asked of it.
    """
    writes = "generate_until" in questions
    scores = any(question != "generate_until" for question in questions)
    return (*((ScoresText,) if scores else ()), *((Generates,) if writes else ()))


def _generated(adapter: Generates, prompt: str, options: Mapping[str, Any]) -> str:
    """Return a continuation up to the first stop sequence, which is cut off."""
    if options.get("num_beams", 1) != 1:
        raise TaskError(f"task {NAME!r} asks for a beam search, which this model does not do")
    wanted = library("lm_eval.models.utils").normalize_gen_kwargs(options, _NEW_TOKENS)
    temperature = float(wanted.get("temperature", 0.0)) if wanted["do_sample"] else 0.0
    text = adapter.generate(prompt, Sampling(wanted["max_gen_toks"], temperature))
    for stop in filter(None, wanted["until"]):
        text = text.split(stop)[0]
    return text
