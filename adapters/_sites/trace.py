"""Trace of one small forward pass: which modules are called, in which order, on what."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from deeploc.adapters._torch.hooks import SiteHook, hook_sites
from deeploc.adapters._torch.shape import Shape
from deeploc.core.units import Tap
from deeploc.errors import AdapterError, DeeplocError


@dataclass(frozen=True)
class Call:
    """One call of a module: its time, and its first input and output tensors.

    Parameters
    ----------
    path
        Of the module.
    started, ended
        Numbers of events, in the order of the forward pass.
    input_shape, output_shape
        Shapes of the first tensors that entered and left the module.
    input_id, output_id
        Numbers of these tensor objects: equal numbers mean the same object.
    image_tokens
        Of an input sequence in which some positions were equal in two stimuli and others not: the
        first and the number of those that were not. The others hold tokens that the model adds, a
        class token for example. ``None``: all of them differed, or none.
    """

    path: str
    started: int
    ended: int
    input_shape: Shape
    output_shape: Shape
    input_id: int
    output_id: int
    image_tokens: tuple[int, int] | None

    @property
    def has_leading_token(self) -> bool:
        """Whether only positions at the start were equal, position 0 among them."""
        if self.image_tokens is None:
            return False
        first, n = self.image_tokens
        return first > 0 and first + n == self.input_shape[1]


class Trace:
    """Every call that took and returned floating-point tensors, in the order of their ends.

    Parameters
    ----------
    calls
        In that order; a module that is called several times is represented by its last call.
    embeddings
        Calls that took none and returned one: of token ids, for example.
    """

    def __init__(self, calls: list[Call], embeddings: Sequence[Call] = ()) -> None:
        self.calls = calls
        self.embeddings = {call.path: call for call in embeddings}
        self._last = {call.path: call for call in calls}
        self._calls: dict[str, list[Call]] = {}
        self._paths = {part for path in self._last for part in _prefixes(path)}
        for call in calls:
            self._calls.setdefault(call.path, []).append(call)

    def __contains__(self, path: str) -> bool:
        return path in self._last

    def __getitem__(self, path: str) -> Call:
        return self._last[path] if path in self._last else self.embeddings[path]

    def call(self, path: str, number: int) -> Call:
        """Return a call of a module by its number, from 1; 0 is the last."""
        return self._calls[path][number - 1]

    def times(self, path: str) -> int:
        """Return how often the module was called."""
        return len(self._calls.get(path, ()))

    def ran(self, path: str) -> bool:
        """Return whether the module or anything inside it was called."""
        return path in self._paths

    def called_once(self, path: str) -> bool:
        """Return whether the module was called exactly once."""
        return self.times(path) == 1


@torch.inference_mode()
def trace_calls(model: nn.Module, run: Callable[[], Any]) -> Trace:
    """Return the calls of modules of ``model`` in one forward pass; no activations are kept.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    run
        Makes the forward pass.

    Raises
    ------
    AdapterError
        If the pass fails.
    """
    recorder = _CallRecorder()
    hooks: list[SiteHook] = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # TorchScript has no hooks
            continue
        sides: tuple[tuple[Tap, Any], ...] = (("input", recorder.enter), ("output", recorder.leave))
        hooks += [SiteHook(path, module, tap, partial(note, path)) for tap, note in sides]
    with hook_sites(hooks):
        try:
            run()
        except (DeeplocError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the code of a model raises
            raise AdapterError(
                f"{type(model).__name__} fails on its example input: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}; give what its forward takes"
            ) from error
    return Trace(recorder.calls, recorder.embeddings)


_Entry = tuple[int, Shape, int, tuple[int, int] | None]
"""When a call started, and the shape, number and image tokens of its input."""


@dataclass
class _CallRecorder:
    """Numbers events and tensors while the model runs."""

    calls: list[Call] = field(default_factory=list)
    embeddings: list[Call] = field(default_factory=list)
    clock: Iterator[int] = field(default_factory=count)
    tensor_ids: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)
    next_id: Iterator[int] = field(default_factory=count)
    open_calls: dict[str, list[_Entry]] = field(default_factory=dict)

    def enter(self, path: str, x: Tensor) -> None:
        """Note the input of a call."""
        if _is_activation(x):
            entry = (next(self.clock), tuple(x.shape), self._id(x), _image_tokens(x))
            self.open_calls.setdefault(path, []).append(entry)

    def leave(self, path: str, x: Tensor) -> None:
        """Note the output of a call, whether or not it took activations."""
        entries = self.open_calls.get(path)
        if not entries and _is_activation(x):
            now = next(self.clock)
            self.embeddings.append(
                Call(path, now, now, (), tuple(x.shape), -1, self._id(x), image_tokens=None)
            )
        elif entries and _is_activation(x):
            started, shape, input_id, tokens = entries.pop()
            output_id, ended = self._id(x), next(self.clock)
            call = Call(path, started, ended, shape, tuple(x.shape), input_id, output_id, tokens)
            self.calls.append(call)

    def _id(self, x: Tensor) -> int:
        # weak references: tensors are freed as without a trace, and their numbers not used again
        if x not in self.tensor_ids:
            self.tensor_ids[x] = next(self.next_id)
        number: int = self.tensor_ids[x]
        return number


def _is_activation(x: Tensor) -> bool:
    return x.is_floating_point() and x.ndim >= 2


def _image_tokens(x: Tensor) -> tuple[int, int] | None:
    if x.ndim != 3 or len(x) < 2:
        return None
    differs = (x[0] != x[1]).any(dim=-1).nonzero().flatten().tolist()
    if not differs or len(differs) == x.shape[1]:
        return None
    return differs[0], differs[-1] + 1 - differs[0]


def _prefixes(path: str) -> Iterator[str]:
    """Yield the path and the paths of all modules that contain it."""
    parts = path.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
