"""Protocols that a model adapter implements: `Adapter`, and optional abilities."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from deeploc.core.ablation import Edit
from deeploc.core.model_options import Modality as Modality  # part of the protocol
from deeploc.core.model_options import ModelOptions as ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus


@dataclass(frozen=True)
class Batch:
    """Activations of some stimuli.

    Parameters
    ----------
    indices
        Numbers of the stimuli.
    values
        Pooled activations; row ``i`` is that of the stimulus ``indices[i]``.
    """

    indices: Int[np.ndarray, " stimulus"]
    values: Float[np.ndarray, "stimulus unit"]


@runtime_checkable
class Adapter(Protocol):
    """A loaded model whose activations can be read and ablated."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model as JSON: ``model``, ``weights`` (content hash), and all else that counts.

        Adapters with equal identity must give equal activations. Anything that changes no number
        (device, batch size) is left out.
        """
        ...

    @property
    def sites(self) -> Layout:
        """Every site that can be read and ablated, in forward order."""
        ...

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, in batches of any order and size.

        Parameters
        ----------
        stimuli
            Texts or image files.
        layout
            The sites to read, a subset of ``sites``; their units are the second axis of the
            values, which are signed and float32 or float64.
        readout
            How positions are chosen and pooled.
        """
        ...

    def ablated(self, ablation: Edit) -> AbstractContextManager[None]:
        """Apply an edit, e.g. an `Ablation`, to every forward pass made inside the context.

        Raises
        ------
        MaskError
            If the mask has sites that this model does not have.
        AdapterError
            If the ablation did not take effect in a forward pass, at the latest when the context
            is left.
        """
        ...


@dataclass(frozen=True)
class Tokenization:
    """How some texts are tokenized, in their order.

    Parameters
    ----------
    tokens
        Number of tokens of the whole text, special tokens not counted.
    kept
        Number of these after truncation.
    word_final
        Whether the token that pool ``last`` reads ends a word; ``None`` with other pools, and for
        tokenizers without offsets.
    bos
        Whether the first token is a special token.
    words
        Number of words whose end is kept; ``None`` for tokenizers without offsets.
    limit
        Texts are truncated after this many tokens, special ones counted; ``None``: never.
    read
        First character, and that after the last, of what is read of each text: with pool ``last``
        the word that ends with the token that is read, else all from the first token that is read
        to the last; equal where that is a special token. ``None`` for tokenizers without offsets.
    """

    tokens: Int[np.ndarray, " stimulus"]
    kept: Int[np.ndarray, " stimulus"]
    word_final: Bool[np.ndarray, " stimulus"] | None
    bos: Bool[np.ndarray, " stimulus"]
    words: Int[np.ndarray, " stimulus"] | None = None
    limit: int | None = None
    read: Sequence[tuple[int, int]] | None = None


@runtime_checkable
class ReadsOneKind(Protocol):
    """An adapter that tells which stimuli it reads; others may take any."""

    @property
    def modality(self) -> Modality:
        """``text`` or ``image``."""
        ...


@runtime_checkable
class Tokenizes(Protocol):
    """Ability of models of texts: how texts are tokenized and truncated."""

    def tokenization(self, stimuli: Sequence[Stimulus], readout: Readout) -> Tokenization:
        """Return how ``activations`` would tokenize texts, without a forward pass.

        Parameters
        ----------
        stimuli
            Texts.
        readout
            How they would be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A completion to score.

    Parameters
    ----------
    prompt
        Text before the completion; empty: the completion is a whole text.
    completion
        Text to score.
    """

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class TextScore:
    """The score of a completion.

    Parameters
    ----------
    logprob
        Sum of the log-probabilities (nats) of the scored tokens.
    n_tokens
        Number of scored tokens.
    greedy
        Whether each scored token was the most probable one.
    """

    logprob: float
    n_tokens: int
    greedy: bool


@runtime_checkable
class ScoresText(Protocol):
    """Ability of language models: the probability of a text."""

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Without a prompt and without a beginning-of-text token the first token of a completion
        cannot be predicted; it is neither scored nor counted.
        """
        ...


@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Parameters
    ----------
    max_tokens
        Largest number of new tokens.
    temperature
        0: the most probable token each time; else tokens are sampled at this temperature.
    seed
        Of the random numbers.
    """

    max_tokens: int = 40
    temperature: float = 0.0
    seed: int = 0


@runtime_checkable
class Generates(Protocol):
    """Ability of language models: continue a prompt."""

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """Return the continuation of a prompt, without the prompt.

        Parameters
        ----------
        prompt
            Text.
        sampling
            Length, temperature and seed.
        """
        ...


class Predictions:
    """What a classifier predicts for some stimuli, in their order.

    Parameters
    ----------
    logits
        Scores of the classes before softmax (stimulus, class), float32; ``None`` for a network
        without classes.
    features
        Input of the last layer, the classifier, averaged over positions where there are several
        (stimulus, feature), float32. Of a network without classes its output.
    """

    def __init__(
        self,
        logits: Float[np.ndarray, "stimulus class"] | None,
        features: Float[np.ndarray, "stimulus feature"],
    ) -> None:
        self._logits = logits
        self.features = features

    @property
    def has_classes(self) -> bool:
        """Whether there are `logits`."""
        return self._logits is not None

    @property
    def logits(self) -> Float[np.ndarray, "stimulus class"]:
        """Scores of the classes before softmax (stimulus, class), float32.

        Raises
        ------
        AdapterError
            If the network has no classes.
        """
        if self._logits is None:
            raise AdapterError(
                "the network has no classes, only features; leave out the tasks that need classes "
                "(accuracy, label-stability), or load it with its classifier"
            )
        return self._logits


@runtime_checkable
class Classifies(Protocol):
    """Ability of classifiers, and of networks of images without classes: `Predictions`."""

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """The names of every class, the most readable first; empty if they have no names."""
        ...

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        """Return the predictions of the model, as it is now (intact or ablated), for stimuli."""
        ...
