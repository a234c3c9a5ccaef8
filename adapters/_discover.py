"""Find the sites of a model from its module tree and one dry forward pass.

No table of model names: the trunk is the largest stack of repeated modules that runs, and the
hidden layer of an MLP is what enters its down projection.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from deeploc.errors import AdapterError
from deeploc.units import Layout, Site, Tap

from ._hooks import Tapped, visiting
from ._read import evaluating

# Modules that mix positions also map hidden -> inner -> hidden; only their names tell them apart
# from an MLP, and these are the names that the literature gives them.
_MIXES_POSITIONS = re.compile(r"att(n|ention)|mixer|ssm", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """The last call of a module: when it ended, and the shapes of its first tensors."""

    order: int
    given: tuple[int, ...]
    returned: tuple[int, ...]


Trace = Mapping[str, Call]
"""Module path -> its call, for every module that took and returned floating-point tensors."""


def discover(model: nn.Module, run: Callable[[], Any]) -> Layout:
    """Return the sites of ``model``, in forward order; ``run`` makes one small forward pass.

    ``block`` is the output of each repeated block of the trunk, ``mlp-neurons`` the input of the
    down projection of the MLP within it. Blocks without a dense MLP have no such site.

    Raises
    ------
    AdapterError
        If the model has no stack of repeated modules, or none of them runs.
    """
    trace = observe(model, run)
    sites: list[Site] = []
    for block in _trunk(model, trace):
        down = _down_projection(model.get_submodule(block), block, trace)
        if down is not None:
            sites.append(Site(down, "mlp-neurons", trace[down].given[-1], "input"))
        sites.append(Site(block, "block", trace[block].returned[-1]))
    if not sites:
        raise AdapterError(
            f"{type(model).__name__} has no stack of repeated blocks that runs on a small input; "
            "name the modules to read with `deeploc.wrap(module, sites=[...])`"
        )
    return Layout(tuple(sites))


def named_sites(model: nn.Module, wanted: Sequence[str | Site], run: Callable[[], Any]) -> Layout:
    """Return the sites called ``wanted``, in that order; ``run`` makes one small forward pass.

    A string is a module path, with ``:input`` appended where what enters the module is meant.

    Raises
    ------
    AdapterError
        If there is no such module, or it takes no part in the forward pass.
    """
    trace = observe(model, run)
    return Layout(tuple(_named(model, site, trace) for site in wanted))


def find_sites(
    model: nn.Module, wanted: Sequence[str | Site] | None, run: Callable[[], Any]
) -> Layout:
    """Return the sites asked for, or without ``wanted`` all that are discovered.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist or does not run.
    """
    with evaluating(model):
        return discover(model, run) if wanted is None else named_sites(model, wanted, run)


@torch.inference_mode()
def observe(model: nn.Module, run: Callable[[], Any]) -> dict[str, Call]:
    """Return which modules ``run`` calls, in which order, and with what shapes."""
    given: dict[str, tuple[int, ...]] = {}
    returned: dict[str, tuple[int, tuple[int, ...]]] = {}
    clock = count()

    def before(path: str, x: Tensor) -> None:
        if x.is_floating_point() and x.ndim >= 2:
            given[path] = tuple(x.shape)

    def after(path: str, x: Tensor) -> None:
        if x.is_floating_point() and x.ndim >= 2:
            returned[path] = (next(clock), tuple(x.shape))

    taps: list[Tapped] = []
    for path, module in model.named_modules():
        sides: tuple[tuple[Tap, Any], ...] = (("input", before), ("output", after))
        taps += [Tapped(module, tap, partial(note, path)) for tap, note in sides]
    with visiting(taps):
        run()
    return {p: Call(n, given[p], shape) for p, (n, shape) in returned.items() if p in given}


def _named(model: nn.Module, wanted: str | Site, trace: Trace) -> Site:
    site = wanted if isinstance(wanted, Site) else None
    path = wanted.path if isinstance(wanted, Site) else wanted.removesuffix(":input")
    paths = dict(model.named_modules())
    if path not in paths:
        near = get_close_matches(path, paths, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AdapterError(f"{type(model).__name__} has no module {path!r}{hint}")
    if path not in trace:
        raise AdapterError(
            f"module {path!r} takes or returns no activations on the example input; "
            "name modules that do, or give another `example`"
        )
    if site is not None:
        return site
    if isinstance(wanted, str) and wanted.endswith(":input"):
        return Site(path, "block", trace[path].given[-1], "input")
    return Site(path, "block", trace[path].returned[-1])


def _trunk(model: nn.Module, trace: Trace) -> list[str]:
    """Return the paths of the blocks: the largest stack of which at least one module ran."""
    stacks = sorted(_stacks(model, ""), key=lambda path: -_size(model.get_submodule(path)))
    for path in stacks:
        children = [_join(path, name) for name, _ in model.get_submodule(path).named_children()]
        if ran := [child for child in children if child in trace]:
            return sorted(ran, key=lambda child: trace[child].order)
    return []


def _stacks(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the outermost stacks; what lies inside one (experts, say) is part of a block."""
    if _is_stack(module):
        yield path
        return
    for name, child in module.named_children():
        yield from _stacks(child, _join(path, name))


def _is_stack(module: nn.Module) -> bool:
    kinds = Counter(type(child) for child in module.children())
    if isinstance(module, nn.ModuleList):
        return len(kinds) > 0
    repeated = max(kinds.values(), default=0)
    return isinstance(module, nn.Sequential) and repeated > 1 and 2 * repeated >= len(module)


def _down_projection(block: nn.Module, path: str, trace: Trace) -> str | None:
    """Return the path of the widest projection back to the block's width; of equals the last."""
    leaves = [p for p in _projections(block, path) if p in trace]
    width = trace[path].returned[-1]
    ups = [trace[p] for p in leaves if trace[p].given[-1] == width]

    def follows_an_up(down: Call) -> bool:
        inner = down.given[-1]  # a fused gate and up projection returns twice as many
        return any(u.order < down.order and u.returned[-1] in (inner, 2 * inner) for u in ups)

    downs = [p for p in leaves if trace[p].returned[-1] == width and follows_an_up(trace[p])]
    return max(downs, key=lambda p: (trace[p].given[-1], trace[p].order), default=None)


def _projections(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the leaves with a 2-D weight that every position passes through on its own."""
    for name, child in module.named_children():
        here = _join(path, name)
        if _MIXES_POSITIONS.search(f"{name} {type(child).__name__}") or _is_expert(module, child):
            continue
        if next(child.children(), None) is not None:
            yield from _projections(child, here)
        elif getattr(getattr(child, "weight", None), "ndim", 0) == 2:
            yield here


def _is_expert(parent: nn.Module, child: nn.Module) -> bool:
    """Return whether ``child`` is one of several like it, of which a token passes only some."""
    several = isinstance(parent, nn.ModuleList | nn.ModuleDict) and len(parent) > 1
    return several and next(child.children(), None) is not None


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
