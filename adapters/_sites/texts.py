"""The sites of a model of texts: every call of a module, with the axes that two passes show."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from deeploc.adapters._torch.hooks import HookFunction, SiteHook, hook_sites
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.units import Layout, Site, Tap
from deeploc.errors import AdapterError

from .axes import TextProbe, n_units, possible_axes, settled
from .discover import find_sites

_log = logging.getLogger(__name__)

Tensors = dict[tuple[str, Tap], list[tuple[int, Tensor]]]
"""What a pass shows at a module's input or output in each of its calls, numbered over all sites."""


def find_text_sites(
    model: nn.Module, wanted: Sequence[str | Site] | None, probes: Sequence[TextProbe]
) -> Layout:
    """Return the sites of a model of texts, each call of a module that is called several times.

    Parameters
    ----------
    model
        The model.
    wanted
        Sites or their names; ``None``: those that are discovered. Of these, the ones that do not
        hold units of every text are left out, and a line is logged.
    probes
        Two passes of texts of other numbers and lengths.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist, does not run or cannot be read.
    """
    found = find_sites(model, wanted, probes[0].run)
    with eval_mode(model):
        seen = [_tensors(model, found.sites, probe) for probe in probes]
    each_call = [each for site in found.sites for each in _calls(site, seen[0])]
    if wanted is None:
        each_call.sort(key=lambda site: _first_seen(site, seen[0]))
    read = [_with_axes(site, seen, probes) for site in each_call]
    refused = [each for each in read if isinstance(each, AdapterError)]
    sites = [each for each in read if isinstance(each, Site)]
    if refused and (wanted is not None or not sites):
        raise refused[0]
    if refused:
        _log.warning("%d of %d sites are left out: %s", *(len(refused), len(each_call)), refused[0])
    return Layout(tuple(sites))


@torch.inference_mode()
def _tensors(model: nn.Module, sites: Sequence[Site], probe: TextProbe) -> Tensors:
    seen: Tensors = {(site.path, site.tap): [] for site in sites}
    number = count()

    def keep(calls: list[tuple[int, Tensor]]) -> HookFunction:
        return lambda x: calls.append((next(number), x.detach().clone()))

    with hook_sites(
        SiteHook(path, model.get_submodule(path), tap, keep(calls))
        for (path, tap), calls in seen.items()
    ):
        probe.run()
    return seen


def _calls(site: Site, seen: Tensors) -> Iterator[Site]:
    """Yield the site of every call that ``site`` means."""
    times = len(seen[site.path, site.tap])
    if times <= 1 and not site.call:
        yield site
        return
    numbers = [site.call] if site.call else range(1, times + 1)
    yield from (replace(site, call=number, calls=times) for number in numbers)


def _first_seen(site: Site, seen: Tensors) -> int:
    """Return the place of a site in the order of the pass."""
    calls = seen[site.path, site.tap]
    return calls[max(site.call, 1) - 1][0] if calls else -1


def _with_axes(
    site: Site, seen: Sequence[Tensors], probes: Sequence[TextProbe]
) -> Site | AdapterError:
    """Return the site with its axes and units, or why it cannot be read."""
    calls = [each[site.path, site.tap] for each in seen]
    times = [len(each) for each in calls]
    if len(set(times)) > 1 or times[0] < max(site.call, 1):
        called = " or ".join(f"{n} times" for n in dict.fromkeys(times))
        return AdapterError(
            f"site {site.name}: its module is called {called} in a forward pass, depending on the "
            "input; sites are calls of modules that are called equally often in every pass"
        )
    tensors = [each[max(site.call, 1) - 1][1] for each in calls]
    shapes = [tuple(x.shape) for x in tensors]
    axes = settled(site, possible_axes(shapes, probes), tensors, probes)
    if axes is None:
        shown = " and ".join(
            f"{shape} for {probe.n_stimuli} texts of {probe.n_positions} tokens"
            for shape, probe in zip(shapes, probes, strict=True)
        )
        return AdapterError(
            f"site {site.name} holds {shown}: which axes are those of texts and tokens is not "
            "clear; name other modules with `sites=[...]`"
        )
    units = n_units(axes) // site.width
    plain = axes == ("batch", "position", str(units * site.width))
    return replace(site, n_units=units, axis=-1, axes=() if plain else axes)
