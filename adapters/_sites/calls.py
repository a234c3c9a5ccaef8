"""Every call of a module is a site of its own: models that loop over their blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from deeploc.adapters._torch.hooks import SiteHook, hook_sites
from deeploc.core.units import Layout, Site, Tap
from deeploc.errors import AdapterError

Shown = dict[tuple[str, Tap], list[tuple[int, Tensor]]]
"""What a pass shows at a module's input or output in each of its calls, numbered over all sites."""


@torch.inference_mode()
def shown(model: nn.Module, sites: Sequence[Site], run: Callable[[], Any]) -> Shown:
    """Return the tensors at the sites in every call of their modules in a pass.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    sites
        Where.
    run
        Makes the pass.
    """
    calls: Shown = {}
    number = count()

    def keep(own: list[tuple[int, Tensor]], x: Tensor) -> None:
        own.append((next(number), x.detach().clone()))

    hooks = []
    for site in sites:
        if (site.path, site.tap) not in calls:
            own = calls[site.path, site.tap] = []
            hooks.append(SiteHook.at(_around(site), model, partial(keep, own)))
    with hook_sites(hooks):
        run()
    return calls


def in_calls(sites: Sequence[Site], calls: Shown, *, in_order: bool) -> list[Site]:
    """Return a site for every call that ``sites`` mean.

    Parameters
    ----------
    sites
        Of modules that may be called several times; without a number they mean every call.
    calls
        From `shown`.
    in_order
        Whether to sort them as they follow each other in the pass.

    Raises
    ------
    AdapterError
        If a site means a call that is not made.
    """
    each = [own for site in sites for own in _in_calls(site, len(calls[site.path, site.tap]))]

    def place(site: Site) -> int:
        own = calls[site.path, site.tap]
        return own[max(site.call, 1) - 1][0] if own else -1

    return sorted(each, key=place) if in_order else each


def with_calls(model: nn.Module, layout: Layout, run: Callable[[], Any], *, sort: bool) -> Layout:
    """Return a layout in which every call of a module that is called several times is a site.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    layout
        Its sites; of modules that are called several times, as their last call shows them.
    run
        Makes one small forward pass.
    sort
        Whether to put the sites in the order of the pass.

    Raises
    ------
    AdapterError
        If a site means a call that is not made.
    """
    calls = shown(model, layout.sites, run)
    if all(len(own) <= 1 for own in calls.values()) and not any(s.call for s in layout.sites):
        return layout
    sites = in_calls(layout.sites, calls, in_order=sort)
    return Layout(tuple(_as_called(site, calls[site.path, site.tap]) for site in sites))


def _around(site: Site) -> Site:
    """Return the site in every call, or the module around it where it is at no module."""
    if site.within:
        return Site(site.within, site.kind, 0)
    return replace(site, call=0, calls=0)


def _in_calls(site: Site, times: int) -> Iterator[Site]:
    if site.call > times:
        raise AdapterError(
            f"there is no site {site.name}: its module is called {times} times in a forward pass"
        )
    if site.within or (times <= 1 and not site.call):
        yield site
        return
    numbers = [site.call] if site.call else range(1, times + 1)
    yield from (replace(site, call=number, calls=times) for number in numbers)


def _as_called(site: Site, calls: Sequence[tuple[int, Tensor]]) -> Site:
    """Return the site with the units and positions of its own call, where the calls differ."""
    if not site.call:
        return site
    own, last = calls[site.call - 1][1], calls[-1][1]
    units = own.shape[site.axis] // site.width
    positions = site.n_positions
    if positions is not None:
        per_unit = own.numel() // own.shape[site.axis]
        positions = positions * per_unit // (last.numel() // last.shape[site.axis])
    return replace(site, n_units=units, n_positions=positions)
