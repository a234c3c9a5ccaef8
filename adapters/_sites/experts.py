"""Find the experts of a block: parts of one parameter, or the modules of a list.

No table of model names. The hidden layer of experts that share parameters is what is multiplied by
the second of two parameters, of which every token uses the parts of its experts; that of experts
that are modules of a list is what enters the layer which leads back from it in each of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from deeploc.adapters._torch.hooks import hook_sites
from deeploc.adapters._torch.origins import Called, Origins
from deeploc.adapters._torch.parameter_hook import parameter_hook, place_at
from deeploc.adapters._torch.row_mode import Layers, Place, RowFunction, RowMode, Rows, unseen
from deeploc.core.units import Site

from .trace import Trace


def expert_sites(
    model: nn.Module, trace: Trace, trunk: Sequence[str], run: Callable[[], Any]
) -> list[Site]:
    """Return the hidden layers of the experts in all blocks, kind ``experts``.

    Unit ``expert * width + neuron`` is what ``neuron`` of ``expert`` passes on to the second
    projection, before the weight that the router gives to the expert; 0 at a token that is not
    routed to it.

    Parameters
    ----------
    model
        The network, in evaluation mode.
    trace
        One forward pass of it.
    trunk
        The paths of its blocks.
    run
        Makes a forward pass; some more are made if a block may hold experts.
    """
    left: dict[Site, list[tuple[str, int]]] = {}
    for block in trunk:
        n_rows = prod(trace[block].input_shape[:-1])
        for site in _candidates(model, block, trace):
            left[site] = [(path, n_rows) for path in _around(site.path, block) if path in trace]
    found: list[Site] = []
    while left := {site: around for site, around in left.items() if around}:
        trials = [_Trial(s, place_at(model, s), *around.pop(0)) for s, around in left.items()]
        _try(model, trials, run)
        found += [trial.found() for trial in trials if trial.is_hidden(trials)]
        done = tuple(f"{site.within}." for site in found)
        left = {site: around for site, around in left.items() if not site.path.startswith(done)}
    return found


def _candidates(model: nn.Module, block: str, trace: Trace) -> Iterator[Site]:
    """Yield the parameters of a block that may have a part per expert, and layers of lists."""
    for path, module in model.get_submodule(block).named_modules(prefix=block):
        own = [(name, p) for name, p in module.named_parameters(recurse=False) if p.ndim > 1]
        for name, parameter in own:
            alike = sum(other.shape == parameter.shape for _, other in own)
            shared = parameter.ndim == 3 or (parameter.ndim == 2 and alike > 1)
            if shared and not isinstance(module, nn.modules.conv._ConvNd):
                yield Site(f"{path}.{name}", "experts", 0, "input")
        if isinstance(module, nn.ModuleList | nn.ModuleDict) and len(module) > 1:
            yield from _layers_of_list(module, path, trace)


def _layers_of_list(experts: nn.Module, path: str, trace: Trace) -> Iterator[Site]:
    """Yield the layer that leads back from the hidden layer of the modules of a list."""
    for name, expert in experts.named_children():
        inside = [layer for layer, _ in expert.named_modules() if f"{path}.{name}.{layer}" in trace]
        calls = {layer: trace[f"{path}.{name}.{layer}"] for layer in inside if layer}
        for layer, down in calls.items():
            width, wide = down.output_shape[-1], (down.input_shape[-1], 2 * down.input_shape[-1])
            ups = [up for up in calls.values() if up.ended < down.started]
            if (
                getattr(expert.get_submodule(layer), "weight", None) is not None
                and any(up.input_shape[-1] == width and up.output_shape[-1] in wide for up in ups)
                and _in_all(experts, layer)
            ):
                yield Site(f"{path}.*.{layer}", "experts", 0, "input")
                return


def _in_all(experts: nn.Module, layer: str) -> bool:
    return all(layer in dict(expert.named_modules()) for expert in experts.children())


def _around(path: str, block: str) -> Iterator[str]:
    """Yield the paths of the modules around a parameter, from the inside to the block."""
    path = path.partition(".*.")[0] if ".*." in path else path.rpartition(".")[0]
    while path != block:
        yield path
        path = path.rpartition(".")[0]
    yield block


@dataclass(eq=False)
class _Trial:
    """Whether the activations of a site can be followed inside one module around it.

    Parameters
    ----------
    site
        The site.
    place
        Where in it the activations are.
    owner
        The path of the module.
    n_block
        How many rows the block around it is given.
    """

    site: Site
    place: Place
    owner: str
    n_block: int
    n_tokens: int = 0
    n_rows: int = 0
    width: int = 0
    failed: bool = False
    made: Origins = field(default_factory=Origins)
    """What descends from the products with the parameter."""
    fed_by: set[str] = field(default_factory=set)
    """The sites whose products lead here."""

    def begin(self, given: Tensor) -> Iterator[RowFunction]:
        """Note what the module is given, and then the rows."""
        self.n_tokens, self.n_rows, self.made = given.shape[:-1].numel(), 0, Origins()
        yield self._note

    def is_hidden(self, trials: Sequence["_Trial"]) -> bool:
        """Return whether this is a hidden layer: something leads here, and this to no other one."""
        if self.failed or not self.n_rows or not self.n_experts or self.n_tokens > self.n_block:
            return False
        if isinstance(self.place, Layers):  # else each of them is an MLP of its own
            return self.n_rows < self.n_experts * self.n_tokens
        beside = [trial for trial in trials if trial.owner == self.owner]
        leads_on = any(self.site.name in trial.fed_by for trial in beside)
        return bool(self.fed_by) and not leads_on

    @property
    def n_experts(self) -> int:
        """How many experts there are."""
        if isinstance(self.place, Layers):
            return len(self.place.modules)
        parameter = self.place.parameter()
        if parameter is None:
            return 0
        if parameter.ndim == 3:
            return len(parameter)
        n_experts, left = divmod(len(parameter), self.width)
        return n_experts if n_experts > 1 and not left else 0

    def found(self) -> Site:
        """Return the site with its units."""
        return replace(self.site, n_units=self.n_experts * self.width, within=self.owner)

    def _note(self, rows: Rows) -> None:
        self.n_rows += len(rows.values)
        self.width = rows.values.shape[1]


class _TrialMode(RowMode):
    """Follows the rows, and notes in a trial where that fails and what leads where."""

    def __init__(self, trial: _Trial, beside: Sequence[_Trial], *args: Any) -> None:
        super().__init__(*args)
        self._trial, self._beside = trial, beside

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        try:
            result = super().__torch_function__(func, types, args, kwargs)
        except Exception:  # also shapes that following does not know; the model's own comes again
            self._trial.failed = True
            result = func(*args, **(kwargs or {}))
        with unseen():
            self._trial.made.follow(Called(func, args, kwargs or {}), result)
        return result

    def before(self, expert: int, module: nn.Module, args: tuple[Any, ...]) -> Any:
        """Show what enters a layer of one expert, as a hook of that layer."""
        try:
            return super().before(expert, module, args)
        except Exception:
            self._trial.failed = True

    def _multiplied(self, called: Called, part: Tensor) -> Any:
        with unseen():
            given = list(called.tensors())
            feeding = [other for other in self._beside if any(x in other.made for x in given)]
            self._trial.fed_by |= {other.site.name for other in feeding}
        result = super()._multiplied(called, part)
        self._trial.made[result] = torch.zeros((), dtype=torch.long, device=result.device)
        return result


def _try(model: nn.Module, trials: Sequence[_Trial], run: Callable[[], Any]) -> None:
    """Make one forward pass in which all trials take notes."""
    hooks = []
    for trial in trials:
        beside = [other for other in trials if other.owner == trial.owner and other is not trial]
        hook = parameter_hook(model, replace(trial.site, within=trial.owner), trial.begin)
        hooks.append(replace(hook, mode=partial(_TrialMode, trial, beside)))
    with hook_sites(hooks), torch.inference_mode():
        run()
