"""Read a batch: run it through a model and keep one number per unit and stimulus."""

from collections import Counter
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

from .hooks import SiteHook, called_otherwise, hook_sites, not_run
from .parameter_hook import is_rehearsal
from .pool import Activations, Pool, Pooled, Valid, pool_routed
from .routed import Routed, routed_hook
from .shape import PADDED, as_sequences


def read_batch(
    model: nn.Module,
    layout: Layout,
    run: Callable[[], Any],
    *,
    pool: Pool,
    n_stimuli: int,
    n_positions: int | None = None,
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
    n_positions
        Number of their positions (tokens), padding counted; ``None``: not known.
    valid
        Which positions are pooled (stimulus, position); ``None``: all.

    Raises
    ------
    AdapterError
        If a site did not run or has a shape that cannot be read.
    """
    pooled: dict[str, Pooled] = {}

    def keep(site: Site, x: Activations | Routed) -> None:
        positions = _positions(site, x, valid)
        if isinstance(x, Routed):
            pooled[site.name] = pool_routed(pool, x, positions)
        else:
            pooled[site.name] = pool(x, positions)

    _pass(model, layout, run, keep, n_stimuli=n_stimuli, n_positions=n_positions)
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
    n_positions: int | None = None,
    valid: Valid = None,
) -> list[dict[str, np.ndarray]]:
    """Return the activations (position, unit) of every stimulus, by the name of the site.

    Parameters
    ----------
    model, layout, run, n_stimuli, n_positions
        As for `read_batch`.
    valid
        Which positions belong to a stimulus (stimulus, position); ``None``: all.

    Raises
    ------
    AdapterError
        If a site did not run or has a shape that cannot be read.
    """
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(n_stimuli)]

    def keep(site: Site, x: Activations | Routed) -> None:
        positions = _positions(site, x, valid)
        x = x.dense() if isinstance(x, Routed) else x
        # a copy: the model may write into its own tensor later in the pass
        wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)
        for number, row in enumerate(rows):
            own = wide[number] if positions is None else wide[number][positions[number]]
            row[site.name] = own.cpu().numpy()

    _pass(model, layout, run, keep, n_stimuli=n_stimuli, n_positions=n_positions)
    for site in layout.sites:
        if site.name not in rows[0]:
            raise not_run(site.name)
    return rows


def _pass(
    model: nn.Module,
    layout: Layout,
    run: Callable[[], Any],
    keep: Callable[[Site, Activations | Routed], None],
    *,
    n_stimuli: int,
    n_positions: int | None,
) -> None:
    """Make one forward pass, and give the activations at every site to ``keep``."""
    called: Counter[str] = Counter()

    def function(site: Site, x: Tensor) -> None:
        if is_rehearsal():
            return
        called[site.name] += 1
        if site.call in (0, called[site.name]):
            sequences = as_sequences(site, x, n_stimuli)
            keep(site, _own_positions(site, _per_unit(site, sequences), n_positions))

    hooks = [
        routed_hook(model, site, n_stimuli, partial(keep, site))
        if site.within
        else SiteHook.at(site, model, partial(function, site))
        for site in layout.sites
    ]
    with hook_sites(hooks), eval_mode(model), torch.inference_mode():
        run()
    for site in layout.sites:
        if called[site.name] and site.calls not in (0, called[site.name]):
            raise called_otherwise(site.name, called[site.name], site.calls)


def _per_unit(site: Site, x: Float[Tensor, "batch position scalar"]) -> Activations:
    """Return one value per unit: of several scalars, such as those of a head, their norm."""
    if site.width == 1:
        return x
    wide = x if x.dtype == torch.float64 else x.float()
    norm: Activations = wide.reshape(*x.shape[:-1], -1, site.width).norm(dim=-1)
    return norm


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set every module to evaluation mode (no dropout) inside the context, and restore it after.

    Convolutions of float32 are computed in float32 there, also where cuDNN would round their inputs
    to TensorFloat-32, so that what a stimulus gives does not depend on the others in its batch.
    """
    training = list(_in_training(model))
    for module in training:
        module.training = False
    with _full_precision():
        try:
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def _full_precision() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # the user has set it for single operators
        yield
        return
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def _in_training(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that are in training mode; faster than ``model.modules()``."""
    left: list[nn.Module | None] = [model]
    while left:
        module = left.pop()
        if module is not None:
            left.extend(module._modules.values())
            if module.training:
                yield module


def _own_positions(
    site: Site, x: Activations, n_positions: int | None
) -> Float[Tensor, "batch own unit"]:
    """Return the activations at the positions of the input; none that the model added itself."""
    if n_positions is None or x.shape[1] in (1, n_positions):
        return x
    if x.shape[1] > n_positions and PADDED in " ".join(site.axes):
        return x[:, :n_positions]
    raise AdapterError(
        f"site {site.name} has {x.shape[1]} positions but the input has {n_positions}; choose "
        "sites that keep the positions of the input"
    )


def _positions(
    site: Site, x: Activations | Routed, valid: Bool[Tensor, "batch token"] | None
) -> Bool[Tensor, "batch token"] | None:
    """Return which positions of a site are pooled; a site after the model's own pooling has one."""
    if valid is None or x.shape[1] == 1 != valid.shape[1]:
        return None
    if valid.shape[1] != x.shape[1]:
        raise AdapterError(
            f"site {site.name} has {x.shape[1]} positions but the attention mask has "
            f"{valid.shape[1]}; choose sites that keep the positions of the input"
        )
    return valid.to(x.like.device if isinstance(x, Routed) else x.device)


def _check(layout: Layout, pooled: Mapping[str, Pooled]) -> None:
    for site in layout.sites:
        if site.name not in pooled:
            raise not_run(site.name)
        if pooled[site.name].shape[1] != site.n_units:
            raise AdapterError(
                f"site {site.name} has {pooled[site.name].shape[1]} units for this input but "
                f"{site.n_units} for the example; choose sites with a fixed number of units"
            )
