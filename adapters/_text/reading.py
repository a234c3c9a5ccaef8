"""An adapter of any model of texts: it reads and ablates."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import nn

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.texts import find_text_sites
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.batching import (
    PADDING,
    SCORED_PADDING,
    SHOWN,
    Indices,
    bucketed,
    budget,
    each_batch,
    padded,
)
from deeploc.adapters._torch.identity import describe_origin
from deeploc.adapters._torch.pool import Pool, pooling
from deeploc.adapters._torch.quantized import separable_batch_size
from deeploc.adapters._torch.read import read_batch, read_positions
from deeploc.adapters._torch.shape import PADDED
from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch, Modality, ModelOptions, Tokenization
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .causal import CausalLM
from .encoder_decoder import EncoderDecoder
from .identity import describe_causal_lm
from .tokenize import Tokenizer
from .tokens import Texts, encode, tokenization


class TextAdapter(NamesModules):
    """A model of texts and its tokenizer; reads and ablates.

    What else a model can do is the method of a class below: abilities are told by methods.

    Parameters
    ----------
    lm
        The forward passes of a model of transformers that takes token ids.
    tokenizer
        Its tokenizer.
    name
        What the model is called in run folders.
    options
        How the model was loaded, and the batch size; default: a trained model.
    sites
        Which sites to read; default: those that are discovered.
    origin
        Where the weights come from, for the identity.
    """

    _scoring: Mapping[str, str] = {}
    """What a score is, as part of the identity, unless it is a log-likelihood left to right."""

    modality: ClassVar[Modality] = "text"

    def __init__(
        self,
        lm: CausalLM | EncoderDecoder,
        tokenizer: Tokenizer,
        name: str,
        options: ModelOptions | None = None,
        sites: Sequence[str | Site] | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.model: Any = lm.model
        self.tokenizer = tokenizer
        self._name = name
        self._options = options or ModelOptions()
        self._wanted = sites
        self._origin = origin or {}
        self._lm = lm

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Model, content hash of the weights, dtype, tokenizer and special tokens, as JSON."""
        return {
            "adapter": "hf",
            "model": self._name,
            **describe_causal_lm(self.model, self.tokenizer),
            **describe_origin(self._options),
            **self._origin,
            **self._scoring,
        }

    @cached_property
    def sites(self) -> Layout:
        """Embedding, blocks and their parts, unless other sites were given."""
        return find_text_sites(self.model, self._wanted, self._lm.probes)

    @cached_property
    def _batch_size(self) -> int | None:
        run, asked = self._lm.probes[0].run, self._options.batch_size
        return separable_batch_size(self.model, run, asked)

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

        batches = self._batches(texts, budget(self._lm.device))
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
                n_positions=ids.shape[1],
                valid=None if attended is None else attended.to(on_device.device),
            )

        largest = min(max(SHOWN // max(layout.n_units, 1), 1), budget(self._lm.device))
        batches = self._batches(texts, largest)
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
        sites = self._names.with_those_of(ablation.mask.layout)
        return ablated(ablation, self.model, sites, self.model.base_model)

    @property
    def _root(self) -> nn.Module:
        root: nn.Module = self.model
        return root

    def _find(self, sites: Sequence[Site], lenient: bool) -> Layout:
        return find_text_sites(self.model, sites, self._lm.probes, lenient=lenient)

    def _batches(self, texts: Texts, positions: int) -> list[Indices]:
        padding = PADDING if self._can_pad else 0.0
        return bucketed(texts.lengths, positions, self._batch_size, padding)

    @property
    def _can_pad(self) -> bool:
        """Whether texts of unequal length can share a pass; not if the model itself pads them."""
        return self._lm.can_pad and not any(PADDED in site.axes for site in self.sites.sites)

    @property
    def _scored_padding(self) -> float:
        return SCORED_PADDING if self._can_pad else 0.0

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
            n_positions=ids.shape[1],
            valid=valid,
        )

    def _check_vocabulary(self, ids: np.ndarray) -> None:
        if ids.size and int(ids.max()) >= self._lm.vocabulary:
            raise AdapterError(
                f"the tokenizer gives token {int(ids.max())} but model {self._name!r} has only "
                f"{self._lm.vocabulary}; use the tokenizer that the model was trained with"
            )
