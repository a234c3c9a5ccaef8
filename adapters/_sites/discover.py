"""Find the sites of a model from its module tree and one small forward pass.

No table of model names: the blocks are the repeated modules of the trunk, the hidden layer of an
MLP is the input of its down projection, and convolutions are read after their activation.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from typing import Any

from torch import nn

from deeploc.adapters._torch.read import eval_mode
from deeploc.adapters._torch.shape import Widths, unit_axis
from deeploc.core.units import Layout, Site, Tap, parse_site_name
from deeploc.errors import AdapterError

from .calls import with_calls
from .convolutions import post_activations
from .embedding import patch_embedding, token_embedding
from .experts import expert_sites
from .grids import Grids
from .layers import plain_layers
from .lengths import called_once, depend_on_length, log_left_out, refused
from .linear import linear_layers
from .mixing import observe_positions
from .parts import Parts
from .routers import router_sites
from .trace import trace_calls
from .trunk import blocks, largest_stack, stacks_beside

Run = Callable[[], Any]
"""Makes one small forward pass."""


def discover(model: nn.Module, run: Run, n_stimuli: int | None = None) -> Layout:
    """Return the sites of ``model``, in forward order.

    Kind ``block`` is the output of each repeated block of the trunk, ``mlp-neurons`` the input of
    the down projection of the MLP in it, ``experts`` the same of all experts of a mixture in one
    site, ``router`` what scores the experts, ``attention`` the output of an attention module in it,
    ``heads`` the input of its output projection, ``state`` the output of another module that mixes
    positions, ``mlp`` that of an MLP, ``embedding`` that of what makes the vectors of the first
    block, ``conv`` that of each convolution after its activation. In a plain stack of layers these
    are the blocks.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    run
        Makes one small forward pass.
    n_stimuli
        Number of stimuli in that pass, if all stimuli have equally many positions (images); only
        then sites know their number of positions, and are there sites of kind ``conv``.

    Raises
    ------
    AdapterError
        If the model has no repeated blocks, or none of them runs.
    """
    sites = SiteFinder(model, run, n_stimuli).sites()
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
    run: Run,
    n_stimuli: int | None = None,
    *,
    lenient: bool = False,
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
    lenient
        Leave out sites that cannot be read.

    Raises
    ------
    AdapterError
        If there is no such module, or it takes no part in the forward pass.
    """
    finder = SiteFinder(model, run, n_stimuli)
    if lenient:
        wanted = [site for site in wanted if finder.can_read(site)]
    return Layout(tuple(finder.named(site) for site in wanted))


def find_sites(
    model: nn.Module,
    wanted: Sequence[str | Site] | None,
    run: Run,
    n_stimuli: int | None = None,
    *,
    longer: Run | None = None,
    lenient: bool = False,
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
    longer
        Makes one of a longer text, if texts may be of any length: discovered sites whose modules
        are called more often in it are left out, with a line.
    lenient
        Leave out those of ``wanted`` that cannot be read.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist, does not run, or runs more often in
        a longer text.
    """
    with eval_mode(model):
        if wanted is None:
            found = discover(model, run, n_stimuli)
        else:
            found = named_sites(model, wanted, run, n_stimuli, lenient=lenient)
        if longer is not None:
            found = _of_any_length(model, found, (run, longer), wanted is None, lenient)
        return with_calls(model, found, run, sort=wanted is None)


def _of_any_length(
    model: nn.Module, found: Layout, runs: tuple[Run, Run], discovered: bool, lenient: bool
) -> Layout:
    """Return the sites whose modules are called as often in a longer text.

    Where none that was discovered is, the modules that are called once take their place.
    """
    varying = depend_on_length(model, found.sites, runs)
    kept = tuple(site for site in found.sites if site not in varying)
    if not varying or lenient:
        return Layout(kept)
    others = called_once(model, runs)
    if not discovered or not (kept or others):
        raise refused(*next(iter(varying.items())), others)
    instead = [] if kept else others
    log_left_out(len(found.sites), varying, instead)
    return Layout((*kept, *named_sites(model, instead, runs[0]).sites))


class SiteFinder:
    """Sites of one model, from the trace of one forward pass."""

    def __init__(self, model: nn.Module, run: Run, n_stimuli: int | None) -> None:
        self._model = model
        self._run = run
        self._trace = trace = trace_calls(model, run)
        self._n = n_stimuli
        leading = (call for call in trace.calls if call.has_leading_token)
        self._class_token_lengths = {call.input_shape[1] for call in leading}
        self._grids = Grids.of(model, trace, n_stimuli)

    def sites(self) -> list[Site]:
        """Return all sites, in the order of the forward pass."""
        trunk = blocks(self._model, self._trace, unwrap=bool(self._n))
        convs = post_activations(self._model, self._trace) if self._n else []
        if not trunk and convs:
            return self._ordered([replace(self.sized(site), kind="block") for site in convs])
        if not trunk and (layers := plain_layers(self._model, self._trace)):
            return self._ordered([self.sized(site) for site in layers])
        trunk = trunk or largest_stack(self._model, self._trace)
        sites = self._within(trunk)
        outputs = {self._trace[block].output_id for block in trunk}
        sites += [self.sized(c) for c in convs if self._trace[c.path].output_id not in outputs]
        experts = expert_sites(self._model, self._trace, trunk, self._run)
        sites += [*experts, *router_sites(self._model, self._trace, experts, self._run)]
        return self._ordered(sites)

    def can_read(self, wanted: str | Site) -> bool:
        """Return whether the trace shows activations at a site."""
        if isinstance(wanted, Site):
            path, tap = wanted.path, wanted.tap
        else:
            path, _, tap = parse_site_name(wanted)
        return self._shows(path, tap) and self.named(wanted).n_units > 0

    def _shows(self, path: str, tap: Tap) -> bool:
        return path in self._trace or (tap == "output" and path in self._trace.embeddings)

    def named(self, wanted: str | Site) -> Site:
        """Return the site ``wanted``, or the one of that name."""
        if isinstance(wanted, Site):
            self.check(wanted.path, wanted.tap)
            return self.sized(wanted)
        path, call, tap = parse_site_name(wanted)
        self.check(path, tap)
        return self.sized(Site(path, "block", 0, tap, call=call))

    def check(self, path: str, tap: Tap) -> None:
        """Refuse a path at which nothing can be read."""
        paths = dict(self._model.named_modules())
        if path not in paths:
            near = get_close_matches(path, paths, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AdapterError(f"{type(self._model).__name__} has no module {path!r}{hint}")
        if not self._shows(path, tap):
            raise AdapterError(
                f"module {path!r} takes or returns no activations on the example input, is not "
                "called as `module(x)`, or is TorchScript; name other modules, or give another "
                "`example`"
            )

    def _within(self, trunk: Sequence[str]) -> list[Site]:
        """Return the blocks, their parts and the embedding before them."""
        linear = linear_layers(self._model, self._trace)
        beside = stacks_beside(self._model, self._trace, trunk)
        inside = {*trunk, *beside}
        observed = observe_positions(self._model, self._run, inside, linear, maps=bool(self._n))
        sites = [self.sized(Site(block, "block", 0)) for block in trunk]
        for block in [*sites, *(self.sized(Site(path, "", 0)) for path in beside)]:
            parts = Parts(
                *(self._model, self._trace, block, observed, linear), is_image=bool(self._n)
            )
            own = parts.sites() if block.kind else parts.attention()
            sites += map(self.sized, own)
        if self._n:
            patches = patch_embedding(self._model, self._trace, list(trunk))
            return [self.sized(site, widths_of=trunk[0]) for site in patches] + sites
        return token_embedding(observed) + sites

    def _ordered(self, sites: list[Site]) -> list[Site]:
        def time(site: Site) -> int:
            path = site.within or site.path
            if path not in self._trace and path not in self._trace.embeddings:  # it takes tokens
                return -1
            call = self._trace[path]
            return call.started if site.tap == "input" else call.ended

        readable = [site for site in dict.fromkeys(sites) if site.n_units]
        return sorted(readable, key=time)

    def sized(self, site: Site, widths_of: str | None = None) -> Site:
        """Return the site with units, axis and positions filled in; no units if unreadable."""
        near = site.path if widths_of is None else widths_of
        call = self._trace[site.path]
        shape = call.input_shape if site.tap == "input" else call.output_shape
        axis = unit_axis(shape, Widths.within(self._model.get_submodule(near)))
        units = shape[axis] // site.width
        if not self._n:
            return replace(site, n_units=units, axis=axis)
        if shape[0] % self._n:  # the first axis is not that of the stimuli
            return replace(site, n_units=0)
        positions = prod(shape) // (shape[axis] * self._n)
        token = len(shape) == 3 and positions in self._class_token_lengths
        sized = replace(site, n_units=units, axis=axis, n_positions=positions, class_token=token)
        return replace(sized, grid=self._grids.at(shape, axis))
