"""What each forward pass of a torch model shows, and at which position it begins."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any
from weakref import ref

from torch import Tensor, nn

from deeploc.core.ablation import ForwardPass
from deeploc.errors import AdapterError

from .hooks import first_tensor

_attended: ContextVar[Tensor | None] = ContextVar("attended", default=None)


@contextmanager
def attending(mask: Tensor | None) -> Iterator[None]:
    """Tell which positions are no padding, for a module whose forward pass takes no mask.

    Parameters
    ----------
    mask
        ``(batch, position)``, 0 at padding; None: there is no padding.
    """
    token = _attended.set(mask)
    try:
        yield
    finally:
        _attended.reset(token)


class Passes:
    """Follows the forward passes of a module.

    A pass that is given a cache of earlier positions (generated text) goes on where the last pass
    with this cache ended; any other begins at position 0.
    """

    def __init__(self) -> None:
        self._inputs: _Inputs | None = None
        self._cache: ref[Any] | None = None
        self._start = 0
        self._end = 0

    @contextmanager
    def of(self, module: nn.Module) -> Iterator["Passes"]:
        """Follow ``module`` inside the context.

        Parameters
        ----------
        module
            It takes token ids, embeddings or images.
        """
        handle = module.register_forward_pre_hook(self._begin, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()

    @property
    def start(self) -> int:
        """The position at which the current pass begins."""
        return self._start

    @property
    def n_stimuli(self) -> int | None:
        """Number of stimuli that the current pass shows; ``None`` where it is not followed."""
        return self._inputs.n_stimuli if self._inputs else None

    def current(self) -> ForwardPass:
        """Return the current pass.

        Raises
        ------
        AdapterError
            If the module was not called as ``module(x)``, so that its input is not known.
        """
        if self._inputs is None:
            raise AdapterError(
                "what the model is shown is not known, because it was called as `model.forward(x)` "
                "or in parts; call it as `model(x)`"
            )
        return ForwardPass(self._start, self._inputs.numbers)

    def _begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if (continued := _CONTINUED.get()) is not None:
            self._start, self._inputs = continued.start, continued.inputs
            return
        shown = first_tensor(_shown(args, kwargs))
        if shown is None:
            return
        cache = next((v for v in kwargs.values() if hasattr(v, "get_seq_length")), None)
        same = cache is not None and self._cache is not None and self._cache() is cache
        self._start = self._end if same else _cached(cache, kwargs, shown)
        self._cache = None if cache is None else ref(cache)
        self._end = self._start + (shown.shape[1] if shown.ndim > 1 else 1)
        if not (same and self._start and self._inputs):
            self._inputs = _Inputs(shown, kwargs.get("attention_mask", _attended.get()))


class Continued:
    """A text that is generated, as told by who generates it: nothing is left to be found out.

    Parameters
    ----------
    prompt
        Token ids (1, position): what the text begins with, and is told apart from others by.
    """

    def __init__(self, prompt: Tensor) -> None:
        self.inputs = _Inputs(prompt, None)
        self.start = 0
        """The position at which the next forward pass begins."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Make every forward pass inside the context one of this text."""
        token = _CONTINUED.set(self)
        try:
            yield
        finally:
            _CONTINUED.reset(token)


_CONTINUED: ContextVar[Continued | None] = ContextVar("continued", default=None)


class _Inputs:
    """The input of a pass, and a number for each stimulus in it."""

    def __init__(self, shown: Tensor, attended: Any) -> None:
        self._shown = shown
        padded = isinstance(attended, Tensor) and attended.shape == shown.shape[:2]
        self._attended = attended if padded else None

    @property
    def n_stimuli(self) -> int:
        """How many stimuli it shows."""
        return len(self._shown)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """A hash of every stimulus without its padding."""
        wide = self._shown.float() if self._shown.is_floating_point() else self._shown.long()
        rows = wide.detach().cpu()
        if self._attended is None:
            return tuple(_number(row) for row in rows)
        attended = self._attended.bool().cpu()
        return tuple(_number(row[own]) for row, own in zip(rows, attended, strict=True))


def _shown(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what the model is shown, among the arguments of a forward pass."""
    named = [kwargs.get(name) for name in ("input_ids", "inputs_embeds", "pixel_values")]
    return [*(value for value in named if value is not None), args, kwargs]


def _cached(cache: Any, kwargs: Mapping[str, Any], shown: Tensor) -> int:
    """Return how many positions earlier passes have seen."""
    try:
        if cache is not None:
            return int(cache.get_seq_length())
    except ValueError:  # a recurrent model's cache does not know; it is followed from its start
        return 0
    attended = kwargs.get("attention_mask")
    if isinstance(attended, Tensor) and attended.ndim == 2 and shown.ndim > 1:
        return max(attended.shape[1] - shown.shape[1], 0)
    return 0


def _number(row: Tensor) -> int:
    data = row.numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
