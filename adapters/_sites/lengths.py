"""Modules that are called once per token: how often depends on the length of the text."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from deeploc.core.units import Site
from deeploc.errors import SiteError

from .calls import Shown, shown

Runs = Sequence[Callable[[], Any]]
"""Small forward passes of inputs of unlike lengths."""

Calls = dict[Site, list[int]]
"""How often the module of a site is called in each of some passes."""

_log = logging.getLogger(__name__)


def depend_on_length(model: nn.Module, sites: Sequence[Site], runs: Runs) -> Calls:
    """Return the sites whose modules are called more often in one pass than in another.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    sites
        Where.
    runs
        The passes.
    """
    own = [site for site in sites if not site.within]
    seen = [shown(model, own, run) for run in runs]
    times = {site: [len(each[site.path, site.tap]) for each in seen] for site in own}
    return {site: called for site, called in times.items() if len(set(called)) > 1}


def called_once(model: nn.Module, runs: Runs) -> list[str]:
    """Return modules called once however long the input, in the order of the pass.

    Of these only the ones that hold a row of units per stimulus or position; what makes the output
    of the model only where there is nothing else.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    runs
        The passes.
    """
    sites = [Site(path, "block", 0) for path, _ in model.named_modules()]
    seen = [shown(model, sites, run) for run in runs]
    calls = {site.path: seen[0][site.path, "output"] for site in sites if _is_alike(site, seen)}
    output = seen[0]["", "output"]
    hidden = {
        path: number
        for path, ((number, x),) in calls.items()
        if path and not (output and torch.equal(x, output[-1][1]))
    }
    return sorted(hidden, key=hidden.__getitem__) or [path for path in calls if path]


def refused(site: Site, called: Sequence[int], others: Sequence[str]) -> SiteError:
    """Return the error for a site whose calls depend on the length of the text.

    Parameters
    ----------
    site
        The site.
    called
        How often its module is called in each pass.
    others
        Modules that can be read in its place.
    """
    instead = (
        f"name another site, e.g. {others[-1]}"
        if others
        else "let the network call a module on whole texts, e.g. nn.GRU in place of nn.GRUCell"
    )
    return SiteError(f"{_reason(site, called)}; {instead}")


def log_left_out(n: int, varying: Calls, instead: Sequence[str]) -> None:
    """Log that sites which were discovered are not read, and why.

    Parameters
    ----------
    n
        How many were discovered.
    varying
        Those of them whose calls depend on the length of the text.
    instead
        Modules that are read in their place.
    """
    reason = _reason(*next(iter(varying.items())))
    read = f"; read instead: {', '.join(instead)}" if instead else ""
    _log.warning("%d of %d sites are left out: %s%s", len(varying), n, reason, read)


def _reason(site: Site, called: Sequence[int]) -> str:
    name = f"{site.path}:input" if site.tap == "input" else site.path
    times = " or ".join(map(str, dict.fromkeys(called)))
    return (
        f"site {name}: its module is called {times} times in a forward pass: its calls depend on "
        "the length of the text"
    )


def _is_alike(site: Site, seen: Sequence[Shown]) -> bool:
    """Return whether a module is called once in every pass, for the same stimuli and units."""
    calls = [each[site.path, site.tap] for each in seen]
    if any(len(own) != 1 for own in calls):
        return False
    tensors = [own[0][1] for own in calls]
    if not all(x.is_floating_point() and x.ndim in (2, 3) for x in tensors):
        return False
    return len({(x.ndim, x.shape[0], x.shape[-1]) for x in tensors}) == 1
