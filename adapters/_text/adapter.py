"""The adapter of a causal language model: it also scores, generates and attributes."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeploc.core.adapter import ModelOptions, Sampling, TextRequest, TextScore
from deeploc.core.units import Site

from .attribute import AttributesTexts
from .causal import CausalLM
from .generate import continuation, own_settings
from .reading import TextAdapter
from .requests import EncodedRequests
from .score import Encoded, encode_request, score_encoded
from .tokenize import Tokenizer


class HFAdapter(TextAdapter, AttributesTexts):
    """A causal LM and its tokenizer; reads, ablates, scores and generates.

    Parameters
    ----------
    model
        A causal LM of transformers.
    tokenizer, name, options, sites, origin
        As of `TextAdapter`.
    lm
        Its forward passes, if they were made before.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        name: str,
        options: ModelOptions | None = None,
        sites: Sequence[str | Site] | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
        lm: CausalLM | None = None,
    ) -> None:
        self._causal = lm or CausalLM(model)
        super().__init__(self._causal, tokenizer, name, options, sites, origin=origin)
        self._encoded = EncodedRequests(self._encode, self._lm.context)

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Raises
        ------
        AdapterError
            If a completion does not fit into the model's context.
        """
        encoded = self._encoded.of(requests)
        return score_encoded(self._causal, encoded, self._batch_size, self._scored_padding)

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
        return continuation(self._causal, self.tokenizer, prompt, sampling)

    def generation_settings(self, sampling: Sampling) -> Mapping[str, Any]:
        """Return what the checkpoint's generation config asks for and `generate` does not do.

        Parameters
        ----------
        sampling
            What is done instead.
        """
        return own_settings(self.model, sampling)

    def _encode(self, request: TextRequest) -> Encoded:
        encoded = encode_request(self.tokenizer, request, self._lm.context)
        self._check_vocabulary(encoded.ids)
        return encoded
