"""The adapter of a causal language model: it also scores, generates and attributes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deeploc.adapters._torch.batching import Indices, bucketed, budget
from deeploc.adapters._torch.gradient import KEPT
from deeploc.core.adapter import Sampling, TextRequest, TextScore

from .attribute import AttributesTexts, LossPass
from .causal import CausalLM
from .causal_loss import causal_loss
from .generate import continuation, own_settings
from .harness import AnswersAsHarness, Score
from .score import LOGITS, Encoded, encode_request, score_encoded
from .scorer import TextScorer


class HFAdapter(TextScorer[CausalLM, Encoded], AttributesTexts[Encoded], AnswersAsHarness):
    """A causal LM and its tokenizer; reads, ablates, scores and generates.

    Parameters
    ----------
    model
        A causal LM of transformers.
    tokenizer, name, options, sites, origin, lm
        As of `TextScorer`.
    """

    _makes_passes = CausalLM

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """Return the continuation of ``prompt``, without the prompt.

        Parameters
        ----------
        prompt
            Text.
        sampling
            Length, temperature and seed.

        Raises
        ------
        AdapterError
            If the prompt is empty or too long.
        """
        return continuation(self._passes, self.tokenizer, prompt, sampling)

    def generation_settings(self, sampling: Sampling) -> Mapping[str, Any]:
        """Return what the checkpoint's generation config asks for and `generate` does not do.

        Parameters
        ----------
        sampling
            What is done instead.
        """
        return own_settings(self.model, sampling)

    def _encode(self, request: TextRequest) -> Encoded:
        encoded = encode_request(self.tokenizer, request, self._passes.context)
        self._check_vocabulary(encoded.ids)
        return encoded

    def _scores(self, encoded: Sequence[Encoded]) -> list[TextScore]:
        return score_encoded(self._passes, encoded, self._batch_size, self._scored_padding)

    def _score_of_harness(self) -> Score:
        return self._checked_scores

    def _checked_scores(self, encoded: Sequence[Encoded]) -> list[TextScore]:
        for each in encoded:
            self._check_vocabulary(each.ids)
        return self._scores(encoded)

    def _encode_text(self, text: str, limit: int | None) -> Encoded:
        whole = encode_request(self.tokenizer, TextRequest("", text), None)
        return Encoded(whole.ids[:limit], whole.start)

    def _attributed(self, encoded: Sequence[Encoded]) -> list[Indices]:
        lm, bound = self._passes, self._batch_size
        lengths = np.array([len(text.ids) - 1 for text in encoded], dtype=np.int64)
        positions = min(budget(lm.device), max(LOGITS // lm.vocabulary, 1)) // KEPT
        return bucketed(lengths, max(positions, 1), bound, self._scored_padding)

    def _loss_passes(self, encoded: Sequence[Encoded]) -> Iterator[LossPass]:
        yield causal_loss(self._passes, encoded)
