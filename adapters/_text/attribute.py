"""The loss of texts under a model that scores them, and its gradient."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.rows import rows_of
from deeploc.adapters._torch.batching import Indices, each_batch
from deeploc.adapters._torch.gradient import Loss, attribute_batch
from deeploc.adapters._torch.pool import Valid
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
from .encoder_decoder import EncoderDecoder

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@runtime_checkable
class Scored(Protocol):
    """The tokens of a text, of which some are scored."""

    @property
    def n_scored(self) -> int:
        """Number of tokens that are scored."""
        ...


E = TypeVar("E", bound=Scored)


@dataclass(frozen=True)
class LossPass:
    """A forward pass whose gradient is taken.

    Parameters
    ----------
    losses
        Makes it, and returns the summed loss (nats) of every row.
    texts
        To which text of the batch each row belongs; the loss of a text is the sum of its rows'.
    valid
        Which positions belong to a row (row, position); ``None``: all.
    """

    losses: Loss
    texts: Int[np.ndarray, " row"]
    valid: Valid = None


class AttributesTexts(NamesModules, Generic[E]):
    """The ability `Attributes` of an adapter around a model that scores texts."""

    model: Any
    _lm: CausalLM | EncoderDecoder

    @cached_property
    @abstractmethod
    def _batch_size(self) -> int | None:
        """Largest number of texts in a pass."""

    @property
    @abstractmethod
    def _scored_padding(self) -> float:
        """Largest share of padding in a batch."""

    @abstractmethod
    def _encode(self, request: TextRequest) -> E:
        """Return the tokens of a request."""

    @abstractmethod
    def _encode_text(self, text: str, limit: int | None) -> E:
        """Return the first tokens of a text, all of which are scored that can be predicted."""

    @abstractmethod
    def _attributed(self, encoded: Sequence[E]) -> list[Indices]:
        """Return which texts are attributed together."""

    @abstractmethod
    def _loss_passes(self, encoded: Sequence[E]) -> Iterator[LossPass]:
        """Yield the forward passes that texts take which are attributed together."""

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
        encoded = self._encode_examples(examples, readout)
        sites = self._names.with_those_of(ablation.mask.layout)
        attribute = partial(attribute_batch, self.model, sites, ablation, steps=steps)

        @torch.inference_mode(False)  # wherever it is called: its tensors are differentiated
        def run(indices: Indices) -> Arrays:
            passes = self._loss_passes([encoded[i] for i in indices.tolist()])
            found = (
                (one.texts, attribute(one.losses, n_stimuli=len(one.texts), valid=one.valid))
                for one in passes
            )
            return _by_text(found, len(indices))

        for indices, (effects, gradients, losses) in each_batch(self._attributed(encoded), run):
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
        encoded = self._encode_examples([term.example for term in terms], readout)
        weights = weights_of(terms, [text.n_scored for text in encoded])

        @torch.inference_mode(False)
        def part(one: LossPass, indices: Indices) -> Tensor:
            losses = one.losses()
            return losses @ torch.from_numpy(weights[indices[one.texts]]).to(losses)

        parts = (
            partial(part, one, indices)
            for indices in self._attributed(encoded)
            for one in self._loss_passes([encoded[i] for i in indices.tolist()])
        )
        rows = rows_of(self.model, layout, self._lm.probes[0].run)
        return attribute_weights(self.model, layout, parts, rows)

    def _encode_examples(self, examples: Sequence[Example], readout: Readout) -> list[E]:
        """Return the tokens of examples; of a stimulus the first ones that the read-out takes."""
        limits = [n for n in (readout.max_tokens, self._lm.context) if n is not None]
        limit = min(limits, default=None)
        return [self._encode_example(example, limit) for example in examples]

    def _encode_example(self, example: Example, limit: int | None) -> E:
        if isinstance(example, TextRequest):
            encoded, name = self._encode(example), repr(example.completion[:40])
        else:
            if isinstance(example, Labelled) or not isinstance(example.content, str):
                raise AdapterError(
                    "this model reads text, and has no loss of images or labels; use a contrast "
                    "of `modality: text`, and a task that scores texts"
                )
            encoded = self._encode_text(example.content, limit)
            name = f"of stimulus {example.id}"
        if encoded.n_scored < 1:
            raise AdapterError(
                f"text {name} has no token that can be predicted, and so no loss; where the model "
                "has no beginning-of-text token, texts need at least two tokens; remove it"
            )
        return encoded


def _by_text(found: Iterable[tuple[np.ndarray, Arrays]], n: int) -> Arrays:
    """Return what the rows of passes say, summed for each of ``n`` texts."""
    totals: list[np.ndarray] = []
    for texts, arrays in found:
        totals = totals or [np.zeros((n, *rows.shape[1:]), rows.dtype) for rows in arrays]
        for total, rows in zip(totals, arrays, strict=True):
            for text, row in zip(texts, rows, strict=True):
                total[text] += row
    effects, gradients, losses = totals
    return effects, gradients, losses
