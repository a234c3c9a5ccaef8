"""Which modules mix positions: a forward pass in which two stimuli differ at one position only.

Whatever enters a block or a module inside it is made equal in the first two stimuli; what enters a
linear layer, equal but for the first position. So a module whose input differs at other positions
receives what was mixed since the last linear layers: by attention, a convolution, a recurrence.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeploc.adapters._torch.hooks import SiteHook, hook_sites
from deeploc.adapters._torch.shape import Widths, unit_axis
from deeploc.core.units import Tap

from .paths import above, holds

_ATTENDS = re.compile(r"softmax|logsumexp|attention|attn")
"""Names of operations that compute the weights of attention, in any of their implementations."""

_LOUD = 10.0
"""The change at the first position, in standard deviations of the input."""


@dataclass(frozen=True)
class Entered:
    """A linear layer or another module, as it was called.

    Parameters
    ----------
    path
        Of the module.
    mixed
        Whether its input held what was mixed over positions since the linear layer before it.
    attention
        Where weights over positions were computed last, by a softmax, and how many sets of them
        there are for one position; ``None`` since something mixed was taken.
    """

    path: str
    mixed: bool
    attention: tuple[str, int] | None


@dataclass
class Observed:
    """What was seen of positions in one forward pass.

    Parameters
    ----------
    entered
        The modules as they were called, in this order.
    alone
        Modules without modules inside that mixed positions themselves, e.g. PyTorch's attention:
        as they were left.
    embedding
        The module that turned tokens into vectors, and the shape of these.
    """

    entered: list[Entered] = field(default_factory=list)
    alone: list[Entered] = field(default_factory=list)
    embedding: tuple[str, tuple[int, ...]] | None = None


@torch.inference_mode()
def observe_positions(
    model: nn.Module,
    run: Callable[[], Any],
    blocks: Collection[str],
    linear: Collection[str],
    *,
    maps: bool = False,
) -> Observed:
    """Return which modules inside ``blocks`` take or return what was mixed over positions.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    run
        Makes one small forward pass; of a single stimulus it is made twice.
    blocks
        Paths of the blocks.
    linear
        Paths of the linear layers.
    maps
        Whether stimuli are images: tensors of four axes may be (stimulus, unit, row, column).
    """
    observer = _Observer(linear, maps)
    hooks: list[SiteHook] = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # TorchScript has no hooks
            continue
        inside = _within(path, blocks)
        before = partial(observer.enter, module) if inside else observer.take
        after = observer.leave if inside else observer.embed
        sides: tuple[tuple[Tap, Any], ...] = (("input", before), ("output", after))
        hooks += [SiteHook(path, module, tap, partial(note, path)) for tap, note in sides]
    with hook_sites(hooks), observer:
        run()
        if observer.again():
            run()
    return observer.observed


class _Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes the stimuli equal but for one position, and notes where they differ at others."""

    def __init__(self, linear: Collection[str], maps: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._maps = maps
        self.observed = Observed()
        self._linear = linear
        self._containers = {outer for path in linear for outer in above(path)}
        self._opaque: dict[str, torch.Size] = {}
        self._n = 0
        self._ids: dict[str, Tensor] = {}
        self._n_rows = 0
        self._open: list[str] = [""]
        self._attention: tuple[str, int] | None = None
        self._kept: list[Tensor] | None = None
        self._references: Iterator[Tensor] | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; note it if it computes weights over positions."""
        x = args[0] if args else None
        if isinstance(x, Tensor) and x.ndim > 2 and _ATTENDS.search(str(func)):
            n_heads = x.shape[1] if x.ndim > 3 else x.shape[0] // max(self._n, 1)
            self._attention = self._open[-1], n_heads
        return func(*args, **(kwargs or {}))

    def again(self) -> bool:
        """Return whether a second pass is needed: there is one stimulus, so two passes differ."""
        if self._kept is None:
            return False
        self.observed = Observed(embedding=self.observed.embedding)
        self._references = iter(self._kept)
        return True

    def take(self, path: str, x: Tensor) -> None:
        """Note the number of stimuli, and the tokens that enter a module."""
        if not self._n:
            self._n = len(x)
            self._kept = [] if self._n == 1 else None
        if not x.is_floating_point() and x.ndim == 2:
            self._ids[path] = x

    def embed(self, path: str, x: Tensor) -> Tensor | None:
        """Make the vectors of tokens equal in the first two stimuli; note what returned them."""
        ids = self._ids.pop(path, None)
        if ids is None or not x.is_floating_point() or x.shape[:2] != ids.shape:
            return None
        if len(ids) != self._n:  # numbers of positions, the same for every stimulus
            return None
        if self.observed.embedding is None and (self._n < 2 or not torch.equal(ids[0], ids[1])):
            self.observed.embedding = path, tuple(x.shape)
            self._n_rows = ids.numel()
        if self._n < 2 or len(x) != self._n:
            return None
        return torch.cat([x[:1], x[:1], x[2:]])

    def enter(self, module: nn.Module, path: str, x: Tensor) -> Tensor | None:
        """Note whether the input was mixed, and make it equal in both but for one position."""
        while not holds(self._open[-1], path):  # such a module gave no tensor as it was left
            self._open.pop()
        self._open.append(path)
        is_linear = path in self._linear
        opaque = not is_linear and _is_opaque(module)
        container = path in self._containers
        if not x.is_floating_point() or not (is_linear or opaque or container):
            return None
        if opaque:
            self._opaque[path] = x.shape[:-1]
        widths = Widths.within(module) if self._maps else None
        axis = unit_axis(tuple(x.shape), widths) if widths and x.ndim == 4 else -1
        rows = self._rows(x.movedim(axis, -1))
        mixed, equal = (
            (False, None) if rows is None else self._made_equal(rows, noisy=is_linear or opaque)
        )
        self.observed.entered.append(Entered(path, mixed, self._attention))
        if mixed and (is_linear or opaque):
            self._attention = None
        return None if equal is None else equal.reshape(x.movedim(axis, -1).shape).movedim(-1, axis)

    def leave(self, path: str, x: Tensor) -> None:
        """Note a module without modules inside that mixed positions itself."""
        if path in self._open:
            del self._open[self._open.index(path) :]
        if self._opaque.get(path) != x.shape[:-1] or not x.is_floating_point():
            return
        rows = self._rows(x)
        if rows is not None and self._made_equal(rows, noisy=False)[0]:
            self.observed.alone.append(Entered(path, True, self._attention))
            self._attention = None

    def _rows(self, x: Tensor) -> Tensor | None:
        """Return ``x`` (..., unit) as (stimulus, window, position, ...); None without positions."""
        n = self._n
        if (
            x.ndim < 2
            or n < 1
            or len(x) % n
            or (x.ndim == 2 and len(x) != (self._n_rows or len(x)))
        ):
            return None
        windows = (1, len(x) // n) if x.ndim == 2 else (len(x) // n, *x.shape[1:-1])
        return x.reshape(n, *windows, x.shape[-1]) if windows[1] > 1 else None

    def _made_equal(self, rows: Tensor, *, noisy: bool) -> tuple[bool, Tensor | None]:
        """Return whether stimuli differ at later positions; and them, made equal there."""
        if self._kept is not None and self._references is None:
            self._kept.append(rows.clone())
            return False, None
        first, second = (
            (next(self._references), rows) if self._references else (rows[:1], rows[1:2])
        )
        if first.shape != second.shape:
            return False, None
        limit = torch.finfo(rows.dtype).eps ** 0.5 * first.abs().max()
        mixed = bool((second - first)[:, :, 1:].abs().max() > limit)
        same = first.clone()
        if noisy:
            same[:, 0, 0] += _noise(first)
        return mixed, same if self._references else torch.cat([first, same, rows[2:]])


def _noise(x: Tensor) -> Tensor:
    random = torch.Generator().manual_seed(0)  # the same each time: equal inputs stay equal
    scale = float(x.float().std()) or 1.0
    return (_LOUD * scale * torch.randn(x.shape[-1], generator=random)).to(x.device, x.dtype)


def _is_opaque(module: nn.Module) -> bool:
    """Return whether a module has matrices of its own, so that it may do what layers do."""
    return any(parameter.ndim == 2 for parameter in module.parameters(recurse=False))


def _within(path: str, blocks: Collection[str]) -> bool:
    return path in blocks or any(outer in blocks for outer in above(path))
