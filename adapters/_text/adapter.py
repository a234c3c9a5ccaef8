"""The adapter of a causal language model: it also scores, generates and attributes."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeploc.core.adapter import Sampling, TextRequest, TextScore

from .attribute import AttributesTexts
from .causal import CausalLM
from .generate import continuation, own_settings
from .score import Encoded, encode_request, score_encoded
from .scorer import TextScorer


class HFAdapter(TextScorer[CausalLM, Encoded], AttributesTexts):
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
