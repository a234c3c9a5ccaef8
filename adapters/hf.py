"""Any causal language model of transformers, by hooks: ``hf:NAME`` or ``hf:/path/to/folder``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Batch, ModelOptions, Sampling, TextRequest, TextScore, Tokenization
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from ._sites.discover import find_sites
from ._text.causal import CausalLM
from ._text.generate import continuation
from ._text.identity import describe_causal_lm
from ._text.load import check_loadable, load_model, load_tokenizer
from ._text.score import Encoded, encode_request, score_encoded
from ._text.tokens import Texts, Tokenizer, encode, tokenization
from ._torch.ablate import edits
from ._torch.batching import Indices, bucketed, budget, each_batch, padded
from ._torch.device import check_no_weights
from ._torch.hooks import visiting
from ._torch.hub import locate
from ._torch.identity import describe_origin
from ._torch.pool import Pool, pooling
from ._torch.read import read_batch

_REMEMBERED = 100_000
"""How many encoded requests are kept; tasks score the same ones under every ablation."""


class HFAdapter:
    """A causal LM and its tokenizer; reads, ablates, scores and generates."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        name: str,
        options: ModelOptions | None = None,
        sites: Sequence[str | Site] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._name = name
        self._options = options or ModelOptions()
        self._wanted = sites
        self._lm = CausalLM(model)
        self._encoded: dict[TextRequest, Encoded] = {}

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Model, content hash of the weights, dtype, tokenizer and what it adds, as JSON."""
        return {
            "adapter": "hf",
            "model": self._name,
            **describe_causal_lm(self.model, self.tokenizer),
            **describe_origin(self._options),
        }

    @cached_property
    def sites(self) -> Layout:
        """Output of every block and its MLP neurons, unless other sites were asked for."""
        probe = self._lm.probe().to(self._lm.device)

        def run() -> Any:
            return self._lm.trunk(probe)

        return find_sites(self.model, self._wanted, run)

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every text once, texts of one length together.

        Raises
        ------
        AdapterError
            If a text has no token to read, or text cannot be pooled as asked.
        """
        pool = pooling(readout.pool, layout)
        if not stimuli:
            return
        texts = encode(self.tokenizer, stimuli, readout, self._lm.context)
        self._check_vocabulary(texts.ids)

        def run(indices: Indices) -> np.ndarray:
            return self._read(texts, indices, layout, pool)

        batches = bucketed(texts.lengths, budget(self._lm.device), self._options.batch_size)
        for indices, values in each_batch(batches, run):
            yield Batch(indices, values)

    def tokenization(self, stimuli: Sequence[Stimulus], readout: Readout) -> Tokenization:
        """Return how the tokenizer takes ``stimuli``, and where they are cut.

        Raises
        ------
        AdapterError
            If a text has no token to read.
        """
        return tokenization(self.tokenizer, stimuli, readout, self._lm.context)

    def ablated(self, ablation: Ablation) -> AbstractContextManager[None]:
        """Apply ``ablation`` to every forward pass inside the context, generation included.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        """
        return visiting(edits(ablation, self.model, self.sites))

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Raises
        ------
        AdapterError
            If a completion does not fit into the model's context.
        """
        encoded = [self._encode(request) for request in requests]
        return score_encoded(self._lm, encoded, self._options.batch_size)

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """Return the continuation of ``prompt``, without the prompt.

        Raises
        ------
        AdapterError
            If the prompt is empty or too long.
        """
        return continuation(self._lm, self.tokenizer, prompt, sampling)

    def _read(self, texts: Texts, indices: Indices, layout: Layout, pool: Pool) -> np.ndarray:
        spans = [texts.span(i) for i in indices.tolist()]
        ids, attended = padded([texts.ids[span] for span in spans])
        there = ids.to(self._lm.device)
        read, _ = padded([texts.read[span] for span in spans])
        valid = None if bool(read.all()) else read.bool().to(there.device)
        return read_batch(
            self.model, layout, pool, lambda: self._lm.trunk(there, attended), len(indices), valid
        )

    def _encode(self, request: TextRequest) -> Encoded:
        if request not in self._encoded:
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            encoded = encode_request(self.tokenizer, request, self._lm.context)
            self._check_vocabulary(encoded.ids)
            self._encoded[request] = encoded
        return self._encoded[request]

    def _check_vocabulary(self, ids: np.ndarray) -> None:
        if ids.size and int(ids.max()) >= self._lm.vocabulary:
            raise AdapterError(
                f"the tokenizer gives token {int(ids.max())} but model {self._name!r} has only "
                f"{self._lm.vocabulary}; use the tokenizer that the model was trained with"
            )


def load(name: str, options: ModelOptions, *, called: str | None = None) -> HFAdapter:
    """Load the causal LM at a hub name or in a local checkpoint folder.

    ``called`` is what run folders call it, where that is not ``name``.

    Raises
    ------
    AdapterError
        In one line: which model, why it cannot be loaded, what to do.
    """
    check_no_weights(f"hf:{name}", options)
    source = locate(name)
    check_loadable(name, source)
    tokenizer = load_tokenizer(name, source)
    model = load_model(name, source, options)
    adapter = HFAdapter(model, tokenizer, called or name, options)
    CausalLM(adapter.model).require_causal(name)
    return adapter
