"""An adapter around a causal language model of transformers and its tokenizer."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.batching import (
    SHOWN,
    Indices,
    bucketed,
    budget,
    each_batch,
    padded,
)
from deeploc.adapters._torch.identity import describe_origin
from deeploc.adapters._torch.pool import Pool, pooling
from deeploc.adapters._torch.read import read_batch, read_positions
from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch, ModelOptions, Sampling, TextRequest, TextScore, Tokenization
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .attribute import AttributesTexts
from .causal import CausalLM
from .generate import continuation
from .identity import describe_causal_lm
from .score import Encoded, encode_request, score_encoded
from .tokenize import Tokenizer
from .tokens import Texts, encode, tokenization

_log = logging.getLogger(__name__)

_CACHED = 100_000
"""How many encoded requests are kept; tasks score the same ones under every ablation."""


class HFAdapter(AttributesTexts):
    """A causal LM and its tokenizer; reads, ablates, scores and generates.

    Parameters
    ----------
    model
        A causal LM of transformers.
    tokenizer
        Its tokenizer.
    name
        What the model is called in run folders.
    options
        How the model was loaded, and the batch size; default: a trained model.
    sites
        Which sites to read; default: those that are discovered.
    """

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
        """Model, content hash of the weights, dtype, tokenizer and special tokens, as JSON."""
        return {
            "adapter": "hf",
            "model": self._name,
            **describe_causal_lm(self.model, self.tokenizer),
            **describe_origin(self._options),
        }

    @cached_property
    def sites(self) -> Layout:
        """Output of every block and its MLP neurons, unless other sites were given."""
        probe = self._lm.probe().to(self._lm.device)

        def run() -> Any:
            return self._lm.trunk(probe)

        return find_sites(self.model, self._wanted, run)

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every text once, texts of similar length together.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        readout
            How tokens are chosen and pooled.

        Raises
        ------
        AdapterError
            If a text has no token to read, or the pool does not apply to texts.
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

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the activations of every text at every token.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        readout
            Where texts are truncated.
        """
        if not stimuli:
            return
        texts = encode(self.tokenizer, stimuli, readout, self._lm.context)
        self._check_vocabulary(texts.ids)

        def run(indices: Indices) -> list[dict[str, np.ndarray]]:
            ids, attended = padded([texts.ids[texts.span(i)] for i in indices.tolist()])
            on_device = ids.to(self._lm.device)
            return read_positions(
                self.model,
                layout,
                lambda: self._lm.trunk(on_device, attended),
                n_stimuli=len(indices),
                valid=None if attended is None else attended.to(on_device.device),
            )

        largest = min(max(SHOWN // max(layout.n_units, 1), 1), budget(self._lm.device))
        batches = bucketed(texts.lengths, largest, self._options.batch_size)
        for indices, rows in each_batch(batches, run):
            yield from zip(indices.tolist(), rows, strict=True)

    def tokenization(self, stimuli: Sequence[Stimulus], readout: Readout) -> Tokenization:
        """Return how ``stimuli`` are tokenized, and how many tokens of them are read.

        Parameters
        ----------
        stimuli
            Texts.
        readout
            How tokens are chosen.

        Raises
        ------
        AdapterError
            If a text has no token to read.
        """
        return tokenization(self.tokenizer, stimuli, readout, self._lm.context)

    def ablated(self, ablation: Edit) -> AbstractContextManager[None]:
        """Apply ``ablation`` to every forward pass inside the context, generation included.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        AdapterError
            When a forward pass or the context ends, if a site was not ablated in a pass.
        """
        return ablated(ablation, self.model, self.sites, self.model.base_model)

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Raises
        ------
        AdapterError
            If a completion does not fit into the model's context.
        """
        # only of new ones: tasks score the same requests under every ablation
        self._warn_of_cut([request for request in requests if request not in self._encoded])
        encoded = [self._encode(request) for request in requests]
        return score_encoded(self._lm, encoded, self._options.batch_size)

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
        return continuation(self._lm, self.tokenizer, prompt, sampling)

    def _read(self, texts: Texts, indices: Indices, layout: Layout, pool: Pool) -> np.ndarray:
        spans = [texts.span(i) for i in indices.tolist()]
        ids, attended = padded([texts.ids[span] for span in spans])
        on_device = ids.to(self._lm.device)
        read, _ = padded([texts.read[span] for span in spans])
        valid = None if bool(read.all()) else read.bool().to(on_device.device)
        return read_batch(
            self.model,
            layout,
            lambda: self._lm.trunk(on_device, attended),
            pool=pool,
            n_stimuli=len(indices),
            valid=valid,
        )

    def _encode(self, request: TextRequest) -> Encoded:
        if request not in self._encoded:
            if len(self._encoded) >= _CACHED:
                self._encoded.clear()
            encoded = encode_request(self.tokenizer, request, self._lm.context)
            self._check_vocabulary(encoded.ids)
            self._encoded[request] = encoded
        return self._encoded[request]

    def _warn_of_cut(self, requests: Sequence[TextRequest]) -> None:
        """Log how many prompts lose their beginning to fit into the context."""
        cut = {request.prompt for request in requests if self._encode(request).n_cut}
        if cut:
            _log.warning(
                "%d of %d prompts do not fit into the model's context of %d tokens and lost their "
                "beginning",
                *(len(cut), len({request.prompt for request in requests}), self._lm.context),
            )

    def _check_vocabulary(self, ids: np.ndarray) -> None:
        if ids.size and int(ids.max()) >= self._lm.vocabulary:
            raise AdapterError(
                f"the tokenizer gives token {int(ids.max())} but model {self._name!r} has only "
                f"{self._lm.vocabulary}; use the tokenizer that the model was trained with"
            )
