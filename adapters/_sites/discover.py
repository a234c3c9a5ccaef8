"""Find the sites of a model from its module tree and one small forward pass.

No table of model names: the blocks are the repeated modules of the trunk, the hidden layer of an
MLP is the input of its down projection, and convolutions are read after their activation.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from typing import Any

from torch import nn

from deeploc.adapters._torch.read import eval_mode
from deeploc.adapters._torch.shape import Widths, unit_axis
from deeploc.core.units import Layout, Site, Tap
from deeploc.errors import AdapterError

from .convolutions import post_activations
from .layers import plain_layers
from .trace import Call, Trace, trace_calls
from .trunk import blocks, largest_stack

# Modules that mix positions also map hidden -> inner -> hidden; only their names, those of the
# literature, distinguish them from an MLP.
_MIXES_POSITIONS = re.compile(r"att(n|ention)|mixer|ssm", re.IGNORECASE)
_ATTENTION = re.compile(r"att(n|ention)", re.IGNORECASE)


def discover(model: nn.Module, run: Callable[[], Any], n_stimuli: int | None = None) -> Layout:
    """Return the sites of ``model``, in forward order.

    Kind ``block`` is the output of each repeated block of the trunk, ``mlp-neurons`` the input of
    the down projection of the MLP in it, ``attention`` the output of an attention module in it,
    ``conv`` the output of each convolution after its activation. In a plain stack of convolutions
    these are the blocks.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    run
        Makes one small forward pass.
    n_stimuli
        Number of stimuli in that pass, if all stimuli have equally many positions (images); only
        then sites know their number of positions, and are there ``attention`` and ``conv``.

    Raises
    ------
    AdapterError
        If the model has no repeated blocks, or none of them runs.
    """
    sites = _SiteFinder(model, trace_calls(model, run), n_stimuli).sites()
    if not sites:
        raise AdapterError(
            f"{type(model).__name__} has no stack of repeated blocks that are called as "
            "`module(x)` on a small input; name the modules to read with "
            "`deeploc.wrap(module, sites=[...])`"
        )
    return Layout(tuple(sites))


def named_sites(
    model: nn.Module,
    wanted: Sequence[str | Site],
    run: Callable[[], Any],
    n_stimuli: int | None = None,
) -> Layout:
    """Return the sites with the given names, in their order.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    wanted
        Sites, or module paths with ``:input`` appended for the input of a module.
    run
        Makes one small forward pass.
    n_stimuli
        As in `discover`.

    Raises
    ------
    AdapterError
        If there is no such module, or it takes no part in the forward pass.
    """
    finder = _SiteFinder(model, trace_calls(model, run), n_stimuli)
    return Layout(tuple(finder.named(site) for site in wanted))


def find_sites(
    model: nn.Module,
    wanted: Sequence[str | Site] | None,
    run: Callable[[], Any],
    n_stimuli: int | None = None,
) -> Layout:
    """Return the sites ``wanted``, or all that are discovered, with the model in evaluation mode.

    Parameters
    ----------
    model
        The model.
    wanted
        Sites or their names; ``None``: discover them.
    run
        Makes one small forward pass.
    n_stimuli
        As in `discover`.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist or does not run.
    """
    with eval_mode(model):
        if wanted is None:
            return discover(model, run, n_stimuli)
        return named_sites(model, wanted, run, n_stimuli)


class _SiteFinder:
    """Sites of one model, from the trace of one forward pass."""

    def __init__(self, model: nn.Module, trace: Trace, n_stimuli: int | None) -> None:
        self._model = model
        self._trace = trace
        self._n = n_stimuli
        leading = (call for call in trace.calls if call.has_leading_token)
        self._class_token_lengths = {call.input_shape[1] for call in leading}

    def sites(self) -> list[Site]:
        """Return all sites, in the order of the forward pass."""
        trunk = blocks(self._model, self._trace)
        convs = post_activations(self._model, self._trace) if self._n else []
        if not trunk and convs:
            return self._ordered([replace(self._at(site), kind="block") for site in convs])
        if not trunk and (layers := plain_layers(self._model, self._trace)):
            return self._ordered([self._at(site) for site in layers])
        trunk = trunk or largest_stack(self._model, self._trace)
        sites = [site for block in trunk for site in self._within(block)]
        outputs = {self._trace[block].output_id for block in trunk}
        sites += [self._at(c) for c in convs if self._trace[c.path].output_id not in outputs]
        return self._ordered(sites)

    def named(self, wanted: str | Site) -> Site:
        """Return the site ``wanted``, or the one of that name."""
        path = wanted.path if isinstance(wanted, Site) else wanted.removesuffix(":input")
        if isinstance(wanted, Site):
            self._check(path, wanted.tap)
            return self._at(wanted)
        tap: Tap = "input" if wanted.endswith(":input") else "output"
        self._check(path, tap)
        return self._at(Site(path, "block", 0, tap))

    def _check(self, path: str, tap: Tap) -> None:
        paths = dict(self._model.named_modules())
        if path not in paths:
            near = get_close_matches(path, paths, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AdapterError(f"{type(self._model).__name__} has no module {path!r}{hint}")
        if path not in self._trace and (tap == "input" or path not in self._trace.embeddings):
            raise AdapterError(
                f"module {path!r} takes or returns no activations on the example input, is not "
                "called as `module(x)`, or is TorchScript; name other modules, or give another "
                "`example`"
            )

    def _ordered(self, sites: list[Site]) -> list[Site]:
        def time(site: Site) -> int:
            call = self._trace[site.path]
            return call.started if site.tap == "input" else call.ended

        readable = [site for site in dict.fromkeys(sites) if site.n_units]
        return sorted(readable, key=time)

    def _within(self, block: str) -> Iterator[Site]:
        site = self._at(Site(block, "block", 0))
        yield site
        down = self._down_projection(site)
        if down is not None:
            yield self._at(Site(down, "mlp-neurons", 0, "input"))
        if self._n:
            yield from (self._at(Site(path, "attention", 0)) for path in self._attention(site))

    def _at(self, site: Site) -> Site:
        """Return the site with units, axis and positions filled in; no units if unreadable."""
        call = self._trace[site.path]
        shape = call.input_shape if site.tap == "input" else call.output_shape
        axis = unit_axis(shape, Widths.within(self._model.get_submodule(site.path)))
        units = shape[axis]
        if not self._n:
            return replace(site, n_units=units, axis=axis)
        if shape[0] % self._n:  # the first axis is not that of the stimuli
            return replace(site, n_units=0)
        positions = prod(shape) // (units * self._n)
        token = len(shape) == 3 and positions in self._class_token_lengths
        return replace(site, n_units=units, axis=axis, n_positions=positions, class_token=token)

    def _down_projection(self, block: Site) -> str | None:
        """Return the widest projection back to the block's width; of equals the last."""
        trace, width = self._trace, block.n_units
        rows = prod(trace[block.path].output_shape) // max(width, 1)
        inside = _projections(self._model.get_submodule(block.path), block.path)
        leaves = [p for p in inside if p in trace and _rows(trace[p]) == rows]
        ups = [trace[p] for p in leaves if trace[p].input_shape[-1] == width]

        def follows_up_projection(down: Call) -> bool:
            inner = down.input_shape[-1]  # a fused gate and up projection returns twice as many
            wide = (inner, 2 * inner)
            return any(up.ended < down.ended and up.output_shape[-1] in wide for up in ups)

        narrow = [p for p in leaves if trace[p].output_shape[-1] == width]
        downs = [p for p in narrow if follows_up_projection(trace[p])]
        return max(downs, key=lambda p: (trace[p].input_shape[-1], trace[p].ended), default=None)

    def _attention(self, block: Site) -> Iterator[str]:
        """Yield the attention modules whose output has the block's own units and positions."""
        size = prod(self._trace[block.path].output_shape)
        for path in _attention_modules(self._model.get_submodule(block.path), block.path):
            if self._trace.called_once(path) and prod(self._trace[path].output_shape) == size:
                yield path


def _projections(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the leaves with a 2-D weight that are applied to every position separately."""
    for name, child in module.named_children():
        child_path = f"{path}.{name}"
        if _MIXES_POSITIONS.search(f"{name} {type(child).__name__}") or _is_expert(module, child):
            continue
        if next(child.children(), None) is not None:
            yield from _projections(child, child_path)
        elif getattr(getattr(child, "weight", None), "ndim", 0) == 2:
            yield child_path


def _is_expert(parent: nn.Module, child: nn.Module) -> bool:
    """Return whether ``child`` is one of several experts, of which a token uses only some."""
    several = isinstance(parent, nn.ModuleList | nn.ModuleDict) and len(parent) > 1
    return several and next(child.children(), None) is not None


def _attention_modules(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the outermost modules named attention that are not whole blocks of that name."""
    for name, child in module.named_children():
        child_path = f"{path}.{name}"
        has_mlp = any(re.fullmatch("mlp|ffn", inner) for inner, _ in child.named_children())
        if _ATTENTION.search(name) and not has_mlp:
            yield from [child_path] if any(p.ndim > 1 for p in child.parameters()) else []
        else:
            yield from _attention_modules(child, child_path)


def _rows(call: Call) -> int:
    return prod(call.input_shape) // call.input_shape[-1]
