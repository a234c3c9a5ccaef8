"""Read a batch: run it through a model and keep one number per unit and stimulus."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError

from .hooks import SiteHook, hook_sites, not_run
from .pool import Activations, Pool, Pooled, Valid
from .shape import as_sequences


def read_batch(
    model: nn.Module,
    layout: Layout,
    run: Callable[[], Any],
    *,
    pool: Pool,
    n_stimuli: int,
    valid: Valid = None,
) -> Float[np.ndarray, "stimulus unit"]:
    """Return the pooled activations of the stimuli that ``run`` passes through ``model``.

    Pooling happens inside the hooks: nothing of the size (batch, position, unit) is kept, and
    the device is synchronized once per batch, not once per site.

    Parameters
    ----------
    model
        The module in which the paths of the sites start.
    layout
        The sites to read.
    run
        Makes one forward pass.
    pool
        Reduces the positions of a site.
    n_stimuli
        Number of stimuli in the pass.
    valid
        Which positions are pooled (stimulus, position); ``None``: all.

    Raises
    ------
    AdapterError
        If a site did not run or has a shape that cannot be read.
    """
    pooled: dict[str, Pooled] = {}

    def keep(site: Site, x: Activations) -> None:
        pooled[site.name] = pool(x, _positions(site, x, valid))

    _pass(model, layout, run, keep, n_stimuli)
    _check(layout, pooled)
    values = [pooled[site.name] for site in layout.sites]
    joined = torch.cat([v.to(values[0].device, non_blocking=True) for v in values], dim=1)
    return np.asarray(joined.cpu().numpy())


def read_positions(
    model: nn.Module,
    layout: Layout,
    run: Callable[[], Any],
    *,
    n_stimuli: int,
    valid: Valid = None,
) -> list[dict[str, np.ndarray]]:
    """Return the activations (position, unit) of every stimulus, by the name of the site.

    Parameters
    ----------
    model, layout, run, n_stimuli
        As for `read_batch`.
    valid
        Which positions belong to a stimulus (stimulus, position); ``None``: all.

    Raises
    ------
    AdapterError
        If a site did not run or has a shape that cannot be read.
    """
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(n_stimuli)]

    def keep(site: Site, x: Activations) -> None:
        positions = _positions(site, x, valid)
        wide = x if x.dtype == torch.float64 else x.float()
        for number, row in enumerate(rows):
            own = wide[number] if positions is None else wide[number][positions[number]]
            row[site.name] = own.cpu().numpy()

    _pass(model, layout, run, keep, n_stimuli)
    for site in layout.sites:
        if site.name not in rows[0]:
            raise not_run(site.name)
    return rows


def _pass(
    model: nn.Module,
    layout: Layout,
    run: Callable[[], Any],
    keep: Callable[[Site, Activations], None],
    n_stimuli: int,
) -> None:
    """Make one forward pass, and give the activations at every site to ``keep``."""

    def function(site: Site, x: Tensor) -> None:
        keep(site, as_sequences(site, x, n_stimuli))

    hooks = [
        SiteHook(site.path, model.get_submodule(site.path), site.tap, partial(function, site))
        for site in layout.sites
    ]
    with hook_sites(hooks), eval_mode(model), torch.inference_mode():
        run()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set every module to evaluation mode (no dropout) inside the context, and restore it after."""
    training = list(_in_training(model))
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _in_training(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that are in training mode; faster than ``model.modules()``."""
    left: list[nn.Module | None] = [model]
    while left:
        module = left.pop()
        if module is not None:
            left.extend(module._modules.values())
            if module.training:
                yield module


def _positions(
    site: Site, x: Activations, valid: Bool[Tensor, "batch token"] | None
) -> Bool[Tensor, "batch token"] | None:
    """Return which positions of a site are pooled; a site after the model's own pooling has one."""
    if valid is None or x.shape[1] == 1 != valid.shape[1]:
        return None
    if valid.shape[1] != x.shape[1]:
        raise AdapterError(
            f"site {site.name} has {x.shape[1]} positions but the attention mask has "
            f"{valid.shape[1]}; choose sites that keep the positions of the input"
        )
    return valid.to(x.device)


def _check(layout: Layout, pooled: Mapping[str, Pooled]) -> None:
    for site in layout.sites:
        if site.name not in pooled:
            raise not_run(site.name)
        if pooled[site.name].shape[1] != site.n_units:
            raise AdapterError(
                f"site {site.name} has {pooled[site.name].shape[1]} units for this input but "
                f"{site.n_units} for the example; choose sites with a fixed number of units"
            )
