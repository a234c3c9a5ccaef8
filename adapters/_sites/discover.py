"""Find the sites of a model from its module tree and one dry forward pass.

No table of model names: the blocks are those that the trunk repeats, the hidden layer of an MLP
is what enters its down projection, and what a convolution computes is read behind its activation.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from typing import Any

from torch import nn

from deeploc.adapters._torch.read import evaluating
from deeploc.adapters._torch.shape import Widths, unit_axis
from deeploc.core.units import Layout, Site, Tap
from deeploc.errors import AdapterError

from .convolutions import post_activations
from .trace import Call, Trace, observe
from .trunk import blocks, largest_stack

# Modules that mix positions also map hidden -> inner -> hidden; only their names tell them apart
# from an MLP, and these are the names that the literature gives them.
_MIXES_POSITIONS = re.compile(r"att(n|ention)|mixer|ssm", re.IGNORECASE)
_ATTENDS = re.compile(r"att(n|ention)", re.IGNORECASE)


def discover(model: nn.Module, run: Callable[[], Any], n_stimuli: int | None = None) -> Layout:
    """Return the sites of ``model``, in forward order; ``run`` makes one small forward pass.

    ``block`` is the output of each repeated block of the trunk, ``mlp-neurons`` the input of the
    down projection of the MLP within it. With ``n_stimuli``, the number of stimuli of that pass,
    where every stimulus has equally many positions (images), sites know how many that is, and
    there are also ``attention``, what an attention module within a block returns, and ``conv``,
    each convolution's output behind its activation. A plain stack of convolutions has these as
    its blocks.

    Raises
    ------
    AdapterError
        If the model has no repeated blocks, or none of them runs.
    """
    trace = observe(model, run)
    found = _Finder(model, trace, n_stimuli).sites()
    if not found:
        raise AdapterError(
            f"{type(model).__name__} has no stack of repeated blocks that runs on a small input; "
            "name the modules to read with `deeploc.wrap(module, sites=[...])`"
        )
    return Layout(tuple(found))


def named_sites(
    model: nn.Module,
    wanted: Sequence[str | Site],
    run: Callable[[], Any],
    n_stimuli: int | None = None,
) -> Layout:
    """Return the sites called ``wanted``, in that order; ``run`` makes one small forward pass.

    A string is a module path, with ``:input`` appended where what enters the module is meant.

    Raises
    ------
    AdapterError
        If there is no such module, or it takes no part in the forward pass.
    """
    finder = _Finder(model, observe(model, run), n_stimuli)
    return Layout(tuple(finder.named(site) for site in wanted))


def find_sites(
    model: nn.Module,
    wanted: Sequence[str | Site] | None,
    run: Callable[[], Any],
    n_stimuli: int | None = None,
) -> Layout:
    """Return the sites asked for, or without ``wanted`` all that are discovered.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist or does not run.
    """
    with evaluating(model):
        if wanted is None:
            return discover(model, run, n_stimuli)
        return named_sites(model, wanted, run, n_stimuli)


class _Finder:
    """Sites of one model as its one forward pass shows them."""

    def __init__(self, model: nn.Module, trace: Trace, n_stimuli: int | None) -> None:
        self._model = model
        self._trace = trace
        self._n = n_stimuli
        self._led = {call.given[1] for call in trace.calls if call.leads}

    def sites(self) -> list[Site]:
        """Return every site that is found, in the order of the forward pass."""
        trunk = blocks(self._model, self._trace)
        convs = post_activations(self._model, self._trace) if self._n else []
        if not trunk and convs:
            return self._ordered([replace(self._at(site), kind="block") for site in convs])
        trunk = trunk or largest_stack(self._model, self._trace)
        found = [site for block in trunk for site in self._within(block)]
        ends = {self._trace[block].made for block in trunk}
        found += [self._at(c) for c in convs if self._trace[c.path].made not in ends]
        return self._ordered(found)

    def named(self, wanted: str | Site) -> Site:
        """Return the site called ``wanted``."""
        path = wanted.path if isinstance(wanted, Site) else wanted.removesuffix(":input")
        self._check(path)
        if isinstance(wanted, Site):
            return self._at(wanted)
        tap: Tap = "input" if wanted.endswith(":input") else "output"
        return self._at(Site(path, "block", 0, tap))

    def _check(self, path: str) -> None:
        paths = dict(self._model.named_modules())
        if path not in paths:
            near = get_close_matches(path, paths, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AdapterError(f"{type(self._model).__name__} has no module {path!r}{hint}")
        if path not in self._trace:
            raise AdapterError(
                f"module {path!r} takes or returns no activations on the example input; "
                "name modules that do, or give another `example`"
            )

    def _ordered(self, sites: list[Site]) -> list[Site]:
        def when(site: Site) -> int:
            call = self._trace[site.path]
            return call.started if site.tap == "input" else call.ended

        readable = [site for site in dict.fromkeys(sites) if site.n_units]
        return sorted(readable, key=when)

    def _within(self, block: str) -> Iterator[Site]:
        here = self._at(Site(block, "block", 0))
        yield here
        down = self._down_projection(block, here)
        if down is not None:
            yield self._at(Site(down, "mlp-neurons", 0, "input"))
        if self._n:
            yield from (self._at(Site(path, "attention", 0)) for path in self._attention(here))

    def _at(self, site: Site) -> Site:
        """Return the site with what the forward pass says of its tensor; no units if unreadable."""
        call = self._trace[site.path]
        shape = call.given if site.tap == "input" else call.returned
        axis = unit_axis(shape, Widths.within(self._model.get_submodule(site.path)))
        units = shape[axis]
        if not self._n:
            return replace(site, n_units=units, axis=axis)
        if shape[0] % self._n:  # the first axis is not that of the stimuli
            return replace(site, n_units=0)
        positions = prod(shape) // (units * self._n)
        led = len(shape) == 3 and positions in self._led
        return replace(site, n_units=units, axis=axis, n_positions=positions, class_token=led)

    def _down_projection(self, block: str, here: Site) -> str | None:
        """Return the widest projection back to the block's width; of equals the last."""
        trace, width = self._trace, here.n_units
        rows = prod(trace[block].returned) // max(width, 1)
        inside = _projections(self._model.get_submodule(block), block)
        leaves = [p for p in inside if p in trace and _rows(trace[p]) == rows]
        ups = [trace[p] for p in leaves if trace[p].given[-1] == width]

        def follows_an_up(down: Call) -> bool:
            inner = down.given[-1]  # a fused gate and up projection returns twice as many
            return any(u.ended < down.ended and u.returned[-1] in (inner, 2 * inner) for u in ups)

        downs = [p for p in leaves if trace[p].returned[-1] == width and follows_an_up(trace[p])]
        return max(downs, key=lambda p: (trace[p].given[-1], trace[p].ended), default=None)

    def _attention(self, block: Site) -> Iterator[str]:
        """Yield the attention modules whose output has the block's own units and positions."""
        size = prod(self._trace[block.path].returned)
        for path in _attending(self._model.get_submodule(block.path), block.path):
            if self._trace.once(path) and prod(self._trace[path].returned) == size:
                yield path


def _projections(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the leaves with a 2-D weight that every position passes through on its own."""
    for name, child in module.named_children():
        here = f"{path}.{name}"
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


def _attending(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the outermost modules called attention that are not a whole block by that name."""
    for name, child in module.named_children():
        here = f"{path}.{name}"
        has_mlp = any(re.fullmatch("mlp|ffn", inner) for inner, _ in child.named_children())
        if _ATTENDS.search(name) and not has_mlp:
            yield from [here] if any(p.ndim > 1 for p in child.parameters()) else []
        else:
            yield from _attending(child, here)


def _rows(call: Call) -> int:
    return prod(call.given) // call.given[-1]
