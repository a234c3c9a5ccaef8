"""One small forward pass, watched: which modules run, in which order, and on what."""

from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Call:
    """One call of a module: when, and what its first tensors were.

    ``took`` and ``made`` number the tensor objects themselves, so that equal numbers mean the
    very same tensor. ``leads`` says that position 0 of the given sequence was equal in all
    stimuli while its last position was not: a token of the model's own stands there.
    """

    path: str
    started: int
    ended: int
    given: Shape
    returned: Shape
    took: int
    made: int
    leads: bool


class Trace:
    """Every call that took and returned floating-point tensors, in the order of their ends."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self._last = {call.path: call for call in calls}
        self._paths = {part for path in self._last for part in _above(path)}
        self._times: dict[str, int] = {}
        for call in calls:
            self._times[call.path] = self._times.get(call.path, 0) + 1

    def __contains__(self, path: str) -> bool:
        return path in self._last

    def __getitem__(self, path: str) -> Call:
        return self._last[path]

    def ran(self, path: str) -> bool:
        """Return whether the module or anything inside it was called."""
        return path in self._paths

    def once(self, path: str) -> bool:
        """Return whether the module was called exactly once."""
        return self._times.get(path) == 1


@torch.inference_mode()
def observe(model: nn.Module, run: Callable[[], Any]) -> Trace:
    """Return what ``run`` calls in ``model``; nothing of the activations is kept."""
    watched = _Watch()
    hooks: list[SiteHook] = []
    for path, module in model.named_modules():
        sides: tuple[tuple[Tap, Any], ...] = (("input", watched.before), ("output", watched.after))
        hooks += [SiteHook(path, module, tap, partial(note, path)) for tap, note in sides]
    with hook_sites(hooks):
        run()
    return Trace(watched.calls)


@dataclass
class _Watch:
    """Numbers events and tensors while the model runs."""

    calls: list[Call] = field(default_factory=list)
    clock: Iterator[int] = field(default_factory=count)
    numbers: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)
    free: Iterator[int] = field(default_factory=count)
    begun: dict[str, list[tuple[int, Shape, int, bool]]] = field(default_factory=dict)

    def before(self, path: str, x: Tensor) -> None:
        if _is_activation(x):
            now = (next(self.clock), tuple(x.shape), self._number(x), _leads(x))
            self.begun.setdefault(path, []).append(now)

    def after(self, path: str, x: Tensor) -> None:
        waiting = self.begun.get(path)
        if waiting and _is_activation(x):
            started, given, took, leads = waiting.pop()
            made, ended = self._number(x), next(self.clock)
            self.calls.append(Call(path, started, ended, given, tuple(x.shape), took, made, leads))

    def _number(self, x: Tensor) -> int:
        # by weak reference: what the model frees is freed, and its number is never used again
        if x not in self.numbers:
            self.numbers[x] = next(self.free)
        number: int = self.numbers[x]
        return number


def _is_activation(x: Tensor) -> bool:
    return x.is_floating_point() and x.ndim >= 2


def _leads(x: Tensor) -> bool:
    if x.ndim != 3 or len(x) < 2:
        return False
    return torch.equal(x[0, 0], x[1, 0]) and not torch.equal(x[0, -1], x[1, -1])


def _above(path: str) -> Iterator[str]:
    """Yield the path and the paths of everything it lies in."""
    parts = path.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
