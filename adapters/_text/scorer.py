"""An adapter of a model of texts that scores them; how it does is what its kinds differ in."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from deeploc.core.adapter import ModelOptions, TextRequest, TextScore
from deeploc.core.units import Site

from .causal import CausalLM
from .encoder_decoder import EncoderDecoder
from .reading import TextAdapter
from .requests import EncodedRequests, Encoding
from .tokenize import Tokenizer

L = TypeVar("L", CausalLM, EncoderDecoder)
E = TypeVar("E", bound=Encoding)


class TextScorer(TextAdapter, Generic[L, E]):
    """A model of texts with a head, and its tokenizer; reads, ablates and scores.

    Parameters
    ----------
    model
        A model of transformers.
    tokenizer, name, options, sites, origin
        As of `TextAdapter`.
    lm
        Its forward passes, if they were made before.
    """

    _makes_passes: ClassVar[Any]
    """The class of its forward passes."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        name: str,
        options: ModelOptions | None = None,
        sites: Sequence[str | Site] | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
        lm: L | None = None,
    ) -> None:
        self._passes: L = lm or self._makes_passes(model)
        super().__init__(self._passes, tokenizer, name, options, sites, origin=origin)
        self._encoded = EncodedRequests(self._encode, self._passes.context)

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the score of every request, in order.

        Raises
        ------
        AdapterError
            If a completion does not fit into the model's context.
        """
        return self._scores(self._encoded.of(requests))

    @abstractmethod
    def _encode(self, request: TextRequest) -> E:
        """Return the tokens of a request."""

    @abstractmethod
    def _scores(self, encoded: Sequence[E]) -> list[TextScore]:
        """Return the score of every encoded request, in order."""
