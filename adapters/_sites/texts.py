"""The sites of a model of texts: every call of a module, with the axes that two passes show."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from deeploc.adapters._torch.read import eval_mode
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError

from .axes import TextProbe, n_units, possible_axes, settled
from .calls import Shown, in_calls, shown
from .discover import discover, named_sites

_log = logging.getLogger(__name__)


def find_text_sites(
    model: nn.Module,
    wanted: Sequence[str | Site] | None,
    probes: Sequence[TextProbe],
    *,
    lenient: bool = False,
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
    lenient
        Leave out those of ``wanted`` that cannot be read.

    Raises
    ------
    AdapterError
        If there are none, or one of ``wanted`` does not exist, does not run or cannot be read.
    """
    run = probes[0].run
    with eval_mode(model):
        if wanted is None:
            found = discover(model, run)
        else:
            found = named_sites(model, wanted, run, lenient=lenient)
        seen = [shown(model, found.sites, probe.run) for probe in probes]
    each_call = in_calls(found.sites, seen[0], in_order=wanted is None)
    read = [_with_axes(site, seen, probes) for site in each_call]
    refused = [each for each in read if isinstance(each, AdapterError)]
    sites = [each for each in read if isinstance(each, Site)]
    if refused and not lenient and (wanted is not None or not sites):
        raise refused[0]
    if refused and not lenient:
        _log.warning("%d of %d sites are left out: %s", *(len(refused), len(each_call)), refused[0])
    return Layout(tuple(sites))


def _with_axes(
    site: Site, seen: Sequence[Shown], probes: Sequence[TextProbe]
) -> Site | AdapterError:
    """Return the site with its axes and units, or why it cannot be read."""
    calls = [each[site.path, site.tap] for each in seen]
    times = [len(each) for each in calls]
    if site.within and set(times) == {1}:  # its rows say themselves whose they are
        return site
    if len(set(times)) > 1 or times[0] < max(site.call, 1) or site.within:
        called = " or ".join(f"{n} times" for n in dict.fromkeys(times))
        return AdapterError(
            f"site {site.name}: its module is called {called} in a forward pass, depending on the "
            "input; sites are calls of modules that are called equally often in every pass"
        )
    tensors = [each[max(site.call, 1) - 1][1] for each in calls]
    shapes = [tuple(x.shape) for x in tensors]
    axes = settled(site, possible_axes(shapes, probes), tensors, probes)
    if axes is None:
        both = " and ".join(
            f"{shape} for {probe.n_stimuli} texts of {probe.n_positions} tokens"
            for shape, probe in zip(shapes, probes, strict=True)
        )
        return AdapterError(
            f"site {site.name} holds {both}: which axes are those of texts and tokens is not "
            "clear; name other modules with `sites=[...]`"
        )
    units = n_units(axes) // site.width
    plain = axes == ("batch", "position", str(units * site.width))
    return replace(site, n_units=units, axis=-1, axes=() if plain else axes)
