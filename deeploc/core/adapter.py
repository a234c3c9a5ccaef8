"""The door between deeploc and a model: what an adapter must do, and what it may do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from deeploc.core.ablation import Ablation
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Device = str
DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ModelOptions:
    """How a model is to be loaded; the shared options of every command.

    ``device`` is ``auto`` (CUDA, then MPS, then the CPU) or a device name, ``dtype`` ``auto``
    (float32 on the CPU, the checkpoint's own elsewhere), ``batch_size`` the largest number of
    stimuli per forward pass or ``None`` for the adapter's choice. ``untrained`` asks for the
    same architecture with random weights drawn from ``seed``; ``weights`` is a local file to
    load into a named architecture, where the adapter takes one.
    """

    device: Device = "auto"
    dtype: DType = "auto"
    batch_size: int | None = None
    untrained: bool = False
    seed: int = 0
    weights: Path | None = None


@dataclass(frozen=True)
class Batch:
    """Activations of some stimuli: ``values[i]`` belongs to stimulus number ``indices[i]``."""

    indices: Int[np.ndarray, " stimulus"]
    values: Float[np.ndarray, "stimulus unit"]


@runtime_checkable
class Adapter(Protocol):
    """A loaded model, reduced to what deeploc asks of it."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the model is, as JSON: ``model``, ``weights`` (content hash), dtype, rules.

        Two adapters with equal identity must give equal activations; what does not change
        the numbers (device, batch size) stays out of it.
        """
        ...

    @property
    def sites(self) -> Layout:
        """Every site that can be read and ablated, in forward order."""
        ...

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, pooled over positions.

        Batches may come in any order and size; ``values`` are signed, float32 or float64, with
        the units of ``layout`` (a choice from ``sites``) along the second axis.
        """
        ...

    def ablated(self, ablation: Ablation) -> AbstractContextManager[None]:
        """Apply ``ablation`` to every forward pass made inside the context.

        Raises
        ------
        MaskError
            If the mask names sites this model does not have.
        """
        ...


@dataclass(frozen=True)
class Tokenization:
    """How a model of texts takes some stimuli, in their order; special tokens are not counted.

    ``tokens`` stand in the whole text and ``kept`` of them are read. Texts are cut after ``limit``
    tokens, special ones counted (``None``: never). ``word_final`` is whether the token that pool
    ``last`` reads ends a word; ``None`` with other pools, or where a tokenizer cannot tell.
    ``words`` are those of the whole text whose end is kept; ``None`` where it cannot tell.
    ``bos`` is whether a special token stands in front.
    """

    tokens: Int[np.ndarray, " stimulus"]
    kept: Int[np.ndarray, " stimulus"]
    word_final: Bool[np.ndarray, " stimulus"] | None
    bos: Bool[np.ndarray, " stimulus"]
    words: Int[np.ndarray, " stimulus"] | None = None
    limit: int | None = None


@runtime_checkable
class Tokenizes(Protocol):
    """Ability of models of texts: what becomes of a text before it is read."""

    def tokenization(self, stimuli: Sequence[Stimulus], readout: Readout) -> Tokenization:
        """Return what ``activations`` would make of ``stimuli``, without a forward pass."""
        ...


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A completion to score after a prompt; an empty prompt scores a whole text."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class TextScore:
    """How a model scores a completion.

    ``logprob`` is the summed natural-log probability (nats) of the ``n_tokens`` scored tokens,
    ``greedy`` whether each of them was the model's most probable one.
    """

    logprob: float
    n_tokens: int
    greedy: bool


@runtime_checkable
class ScoresText(Protocol):
    """Ability of language models: the probability of a text."""

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Without a prompt and without a beginning-of-text token the first token has nothing to be
        predicted from; it is not scored and not counted.
        """
        ...


@dataclass(frozen=True)
class Sampling:
    """How text is generated: greedily at temperature 0, else sampled from ``seed``."""

    max_tokens: int = 40
    temperature: float = 0.0
    seed: int = 0


@runtime_checkable
class Generates(Protocol):
    """Ability of language models: continue a prompt."""

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """Return the continuation of ``prompt``, without the prompt."""
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


Answers = Predictions  # alias until the tasks use the new name


@runtime_checkable
class Classifies(Protocol):
    """Ability of classifiers: which class a stimulus belongs to."""

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """The names of every class, the most readable first; empty where nobody named them."""
        ...

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        """Return the predictions for ``stimuli`` of the model, intact or ablated as it is now."""
        ...
