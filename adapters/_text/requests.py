"""The tokens of requests, each encoded once."""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

from deeploc.core.adapter import TextRequest

_log = logging.getLogger(__name__)

_CACHED = 100_000
"""How many encoded requests are kept; tasks score the same ones under every ablation."""


@runtime_checkable
class Encoding(Protocol):
    """The tokens of a request."""

    @property
    def n_cut(self) -> int:
        """Number of tokens at the beginning of the prompt that were left out."""
        ...


E = TypeVar("E", bound=Encoding)


class EncodedRequests(Generic[E]):
    """Encodes requests, keeps the results, and logs which prompts were cut.

    Parameters
    ----------
    encode
        Returns the tokens of a request.
    context
        Longest input of the model in tokens, for the message.
    """

    def __init__(self, encode: Callable[[TextRequest], E], context: int | None) -> None:
        self._encode = encode
        self._context = context
        self._encoded: dict[TextRequest, E] = {}

    def of(self, requests: Sequence[TextRequest]) -> list[E]:
        """Return the tokens of every request, in order.

        Parameters
        ----------
        requests
            Prompts and completions.
        """
        # only of new ones: tasks score the same requests under every ablation
        self._warn_of_cut([request for request in requests if request not in self._encoded])
        return [self._get(request) for request in requests]

    def _get(self, request: TextRequest) -> E:
        if request not in self._encoded:
            if len(self._encoded) >= _CACHED:
                self._encoded.clear()
            self._encoded[request] = self._encode(request)
        return self._encoded[request]

    def _warn_of_cut(self, requests: Sequence[TextRequest]) -> None:
        """Log how many prompts lose their beginning to fit into the context."""
        cut = {request.prompt for request in requests if self._get(request).n_cut}
        if cut:
            _log.warning(
                "%d of %d prompts do not fit into the model's context of %d tokens and lost their "
                "beginning",
                *(len(cut), len({request.prompt for request in requests}), self._context),
            )
