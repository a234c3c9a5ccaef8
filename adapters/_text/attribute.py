"""The loss of texts under a causal language model, and its gradient."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.rows import rows_of
from deeploc.adapters._torch.batching import Indices, bucketed, budget, each_batch, padded
from deeploc.adapters._torch.gradient import KEPT, attribute_batch
from deeploc.adapters._torch.weights import attribute_weights
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import TextRequest
from deeploc.core.attribution import (
    Attributed,
    Example,
    Labelled,
    Term,
    WeightAttribution,
    weights_of,
)
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError

from .causal import CausalLM
from .score import LOGITS, Encoded, encode_request
from .tokenize import Tokenizer


class AttributesTexts(NamesModules):
    """The ability `Attributes` of an adapter around a causal language model."""

    model: Any
    tokenizer: Tokenizer
    _passes: CausalLM

    @property
    @abstractmethod
    def _scored_padding(self) -> float:
        """Largest share of padding in a batch."""

    @cached_property
    @abstractmethod
    def _batch_size(self) -> int | None:
        """Largest number of texts in a pass."""

    def attributions(
        self,
        examples: Sequence[Example],
        ablation: Ablation,
        readout: Readout,
        steps: int | None = None,
    ) -> Iterator[Attributed]:
        """Yield what the loss of every text says of the units, texts of similar length together.

        Parameters
        ----------
        examples
            Texts; those that are stimuli are truncated where the read-out truncates them.
        ablation
            What would be done to the units; its mask holds all that are attributed to.
        readout
            Its ``max_tokens`` counts.
        steps
            See `deeploc.core.attribution.Attributes`.

        Raises
        ------
        AdapterError
            If an example is no text, or has no token to predict.
        """
        encoded = encode_examples(self.tokenizer, examples, readout, self._passes.context)
        batches = self._attributed(encoded)
        sites = self._names.with_those_of(ablation.mask.layout)
        attribute = partial(attribute_batch, self.model, sites, ablation, steps=steps)

        @torch.inference_mode(False)  # wherever it is called: its tensors are differentiated
        def run(indices: Indices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            texts = _Batch(self._passes, [encoded[i] for i in indices.tolist()])
            return attribute(texts.losses, n_stimuli=len(indices), valid=texts.valid)

        for indices, (effects, gradients, losses) in each_batch(batches, run):
            tokens = np.array([encoded[i].n_scored for i in indices.tolist()])
            yield Attributed(indices, effects, gradients, losses, tokens)

    def weight_attributions(
        self, terms: Sequence[Term], layout: Layout, readout: Readout
    ) -> WeightAttribution:
        """Return |weight x gradient| of an objective over texts, by tensor and by unit.

        Parameters
        ----------
        terms
            The objective.
        layout
            The sites whose units are told apart.
        readout
            Its ``max_tokens`` counts.

        Raises
        ------
        AdapterError
            If an example is no text, or has no token to predict.
        """
        lm, examples = self._passes, [term.example for term in terms]
        encoded = encode_examples(self.tokenizer, examples, readout, lm.context)
        weights = weights_of(terms, [text.n_scored for text in encoded])

        @torch.inference_mode(False)
        def part(indices: Indices) -> Tensor:
            losses = _Batch(lm, [encoded[i] for i in indices.tolist()]).losses()
            return losses @ torch.from_numpy(weights[indices]).to(losses)

        batches = self._attributed(encoded)
        parts = (partial(part, indices) for indices in batches)
        rows = rows_of(self.model, layout, lm.probes[0].run)
        return attribute_weights(self.model, layout, parts, rows)

    def _attributed(self, encoded: Sequence[Encoded]) -> list[Indices]:
        """Return which texts share a pass whose gradient is taken."""
        lm, bound = self._passes, self._batch_size
        lengths = np.array([len(text.ids) - 1 for text in encoded], dtype=np.int64)
        positions = min(budget(lm.device), max(LOGITS // lm.vocabulary, 1)) // KEPT
        return bucketed(lengths, max(positions, 1), bound, self._scored_padding)


def encode_examples(
    tokenizer: Tokenizer, examples: Sequence[Example], readout: Readout, context: int | None
) -> list[Encoded]:
    """Return the tokens of examples, and which of them are scored.

    A stimulus is a text of which all tokens are scored but a first one that nothing precedes; it
    is truncated where the read-out truncates it.

    Parameters
    ----------
    tokenizer
        Of the model.
    examples
        Texts.
    readout
        Its ``max_tokens`` counts.
    context
        Longest input of the model in tokens, or ``None``.

    Raises
    ------
    AdapterError
        If an example is no text, or has no token to predict.
    """
    limits = [n for n in (readout.max_tokens, context) if n is not None]
    limit = min(limits, default=None)
    return [_encoded(tokenizer, example, limit, context) for example in examples]


def _encoded(
    tokenizer: Tokenizer, example: Example, limit: int | None, context: int | None
) -> Encoded:
    if isinstance(example, TextRequest):
        encoded, name = encode_request(tokenizer, example, context), repr(example.completion[:40])
    else:
        if isinstance(example, Labelled) or not isinstance(example.content, str):
            raise AdapterError(
                "this model reads text, and has no loss of images or labels; use a contrast of "
                "`modality: text`, and a task that scores texts"
            )
        whole = encode_request(tokenizer, TextRequest("", example.content), None)
        encoded, name = Encoded(whole.ids[:limit], whole.start), f"of stimulus {example.id}"
    if encoded.n_scored < 1:
        raise AdapterError(
            f"text {name} has no token that can be predicted, and so no loss; where the model has "
            "no beginning-of-text token, texts need at least two tokens; remove it"
        )
    return encoded


class _Batch:
    """Texts that share a pass."""

    def __init__(self, lm: CausalLM, texts: Sequence[Encoded]) -> None:
        self._lm = lm
        self._ids, self._attended = padded([text.ids[:-1] for text in texts])
        self._targets, _ = padded([text.ids[1:] for text in texts])
        self._first = min(text.start for text in texts) - 1
        positions = torch.arange(self._ids.shape[1])
        starts, ends = (
            torch.tensor([[bound] for bound in bounds])
            for bounds in ([t.start - 1 for t in texts], [len(t.ids) - 1 for t in texts])
        )
        self._scored = (positions >= starts) & (positions < ends)

    @property
    def valid(self) -> Tensor | None:
        """Which positions belong to a text; None: all."""
        return self._attended

    def losses(self) -> Float[Tensor, " stimulus"]:
        """Make one forward pass; return the summed loss (nats) of every text."""
        keep = self._ids.shape[1] - self._first
        logits = self._lm.logits(self._ids.to(self._lm.device), self._attended, keep=keep)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        targets = self._targets[:, self._first :, None].to(wide.device)
        logprobs = wide.log_softmax(dim=-1).gather(-1, targets).squeeze(-1)
        scored = self._scored[:, self._first :].to(wide.device)
        return -torch.where(scored, logprobs, 0.0).sum(dim=1)
