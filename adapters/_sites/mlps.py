"""The multilayer perceptrons of a block: to an inner width and back, position by position."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod

from torch import nn

from deeploc.adapters._torch.shape import Shape

from .mixing import Entered
from .paths import common_module, holds
from .trace import Call, Trace


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron.

    Parameters
    ----------
    path
        Of the module that returns what it computes.
    up, down
        Of the linear layers to its neurons and back.
    """

    path: str
    up: str
    down: str


@dataclass(frozen=True)
class Within:
    """A block, as far as its multilayer perceptrons are to be found.

    Parameters
    ----------
    path
        Its path.
    entered
        The modules inside it as they were called.
    mixers
        Paths of those that mix positions.
    linear
        The calls of linear layers, by path.
    rows
        How many vectors a layer takes that is applied to every position of every stimulus.
    widths
        The widths that may be left and returned to.
    """

    path: str
    entered: tuple[Entered, ...]
    mixers: Collection[str]
    linear: Mapping[str, Call]
    rows: frozenset[int]
    widths: frozenset[int]

    @cached_property
    def outside(self) -> tuple[Entered, ...]:
        """The modules as they were called, mixers and what is inside these left out."""
        return tuple(e for e in self.entered if not _any_holds(self.mixers, e.path))


def mlps_of(block: Within, experts: Collection[str]) -> list[Mlp]:
    """Return the widest multilayer perceptrons of a block, in the order of the forward pass.

    A layer to an inner width (or twice that, where a gate is computed with it) and a later layer
    back are one, if nothing between them mixes positions. Only where a block has none a convolution
    may stand between. Narrower ones (adapters, gates) are left out.

    Parameters
    ----------
    block
        The block.
    experts
        Paths of modules of which a position uses only some; what they hold is left out.
    """
    layers = [
        e for e in block.outside if e.path in block.linear and not _any_holds(experts, e.path)
    ]
    pairs: list[tuple[tuple[bool, int], Mlp]] = []
    for place, entered in enumerate(layers):
        down = block.linear[entered.path]
        if _returns(block, down) and not _feeds_attention(block, down):
            ups = [block.linear[e.path] for e in layers[:place]]
            if up := _up(down, [call for call in ups if _rows(call.input_shape) in block.rows]):
                key = (not entered.mixed, down.input_shape[-1])
                pairs.append((key, _mlp(block.path, up, entered.path)))
    best = max((key for key, _ in pairs), default=None)
    # of two that end in one module the later one
    return list({mlp.path: mlp for key, mlp in pairs if key == best}.values())


def alternatives(block: Within, model: nn.Module, trace: Trace) -> list[str]:
    """Return the members of lists of experts: several modules that are called one after the other.

    Members of a list between which the block calls other layers, or of which one mixes positions,
    are stations of one path.

    Parameters
    ----------
    block
        The block.
    model
        The model.
    trace
        One forward pass of it.
    """
    found: list[str] = []
    for path, module in model.get_submodule(block.path).named_modules(prefix=block.path):
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            members = [f"{path}.{name}" for name, child in module.named_children() if _deep(child)]
            returned = {trace[member].output_shape[-1] for member in members if member in trace}
            mixes = any(holds(path, mixer) for mixer in block.mixers)
            if len(members) > 1 and returned & block.widths and not (mixes or _apart(block, path)):
                found += members
    return found


def fused_experts(block: Within, model: nn.Module, trace: Trace) -> list[str]:
    """Return the modules outside of mixers that hold one matrix per expert in one parameter.

    Parameters
    ----------
    block
        The block.
    model
        The model.
    trace
        One forward pass of it.
    """
    holders = [
        path
        for path, module in model.get_submodule(block.path).named_modules(prefix=block.path)
        if _holds_experts(module, path in block.linear)
        and trace.ran(path)
        and not _any_holds(block.mixers, path)
    ]
    return [path for path in holders if not any(p != path and holds(p, path) for p in holders)]


def _returns(block: Within, down: Call) -> bool:
    return down.output_shape[-1] in block.widths and _rows(down.output_shape) in block.rows


def _feeds_attention(block: Within, call: Call) -> bool:
    """Return whether a layer comes before the output projection of attention by the block."""
    projections = [block.linear[path] for path in block.mixers if path in block.linear]
    return any(call.ended < projection.started for projection in projections)


def _up(down: Call, before: list[Call]) -> Call | None:
    """Return the nearest earlier layer from the width of ``down`` to its inner width."""
    inner, width = down.input_shape[-1], down.output_shape[-1]
    ups = [
        call
        for call in before
        if call.input_shape[-1] == width and call.output_shape[-1] in (inner, 2 * inner)
    ]
    return max(ups, key=lambda up: len(common_module(up.path, down.path)), default=None)


def _mlp(block: str, up: Call, down: str) -> Mlp:
    module = common_module(up.path, down)
    return Mlp(module if len(module) > len(block) else down, up.path, down)


def _apart(block: Within, path: str) -> bool:
    """Return whether other layers of the block are called between the members of a list."""
    layers = [holds(path, e.path) for e in block.entered if e.path in block.linear or e.mixed]
    return any(_gaps(layers))


def _gaps(inside: list[bool]) -> Iterator[bool]:
    calls = [place for place, own in enumerate(inside) if own]
    yield from (later - earlier > 1 for earlier, later in pairwise(calls))


def _holds_experts(module: nn.Module, is_linear: bool) -> bool:
    """Return whether a module holds a stack of matrices, or several; kernels are none."""
    if is_linear or isinstance(module, nn.modules.conv._ConvNd):
        return False
    own = list(module.parameters(recurse=False))
    stacked = any(p.ndim == 3 and min(p.shape[1:]) > 1 for p in own)
    return stacked or sum(p.ndim == 2 and min(p.shape) > 1 for p in own) > 1


def _deep(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _any_holds(outer: Collection[str], inner: str) -> bool:
    return any(holds(path, inner) for path in outer)


def _rows(shape: Shape) -> int:
    return prod(shape) // max(shape[-1], 1)
