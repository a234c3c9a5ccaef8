"""Answer the requests of lm-evaluation-harness as its own model of transformers does."""

from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

from deeploc.adapters._torch.packages import optional_package
from deeploc.core.adapter import TextScore
from deeploc.core.harness import Question

from .score import Encoded
from .tokenize import Tokenizer

Score = Callable[[Sequence[Encoded]], list[TextScore]]
"""Scores encoded requests by the forward passes of deeploc."""


class AnswersAsHarness:
    """A language model that the harness can ask; what it asks with is made at the first request."""

    tokenizer: Tokenizer
    _passes: Any

    def harness_answers(self, question: Question, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answer to every request, in order, from the model as it is now.

        Parameters
        ----------
        question
            What is asked, the same of all requests.
        requests
            The arguments of each.

        Raises
        ------
        AdapterError
            If a request does not fit the model, or the harness is not installed.
        """
        return list(self._harness_model.answers(question, requests))

    @cached_property
    def _harness_model(self) -> Any:
        optional_package("lm_eval", "a task of lm-evaluation-harness", extra="lm-eval")
        module = import_module(".harness_model", __package__)
        return module.made(self._passes, self.tokenizer, self._score_of_harness())

    def _score_of_harness(self) -> Score | None:
        """Return what scores a causal model; None: the harness itself does."""
        return None
