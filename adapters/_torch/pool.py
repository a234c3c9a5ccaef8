"""Pools: reduce positions to one number per unit and stimulus."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deeploc.core.units import Layout
from deeploc.errors import AdapterError

from .routed import Routed, counted

Activations = Float[Tensor, "batch position unit"]
Valid = Bool[Tensor, "batch position"] | None
"""Which positions are pooled; ``None``: all."""
Pooled = Float[Tensor, "batch pooled"]
Pool = Callable[[Activations, Valid], Pooled]

_TEXT = ("last", "mean", "max")
_IMAGE = ("mean", "max", "cls", "none")


def pooling(name: str, layout: Layout) -> Pool:
    """Return the pool ``name`` over the valid positions of the sites of ``layout``.

    All pools return float32, or float64 for float64 input.

    Parameters
    ----------
    name
        ``last``, ``mean`` or ``max`` of the valid positions, padded on either side; ``cls``:
        position 0; ``none``: every position, so that unit ``position * n_units + unit`` is
        ``unit`` at ``position``. Sites with a fixed number of positions (images) have no last
        one; only these have ``cls`` and ``none``.
    layout
        The sites that will be pooled.

    Raises
    ------
    AdapterError
        If the sites cannot be pooled that way.
    """
    fixed = all(site.n_positions is not None for site in layout.sites)
    known = _IMAGE if layout.sites and fixed else _TEXT
    if name not in known:
        raise AdapterError(
            f"pool {name!r} does not apply to the stimuli of this model; choose one of "
            f"{', '.join(known)} in `read.pool`"
        )
    without = [site.name for site in layout.sites if not site.class_token]
    if name == "cls" and without:
        raise AdapterError(
            f"pool 'cls' needs a class token, and site {without[0]} has none; "
            "use mean, max or none, or read other sites"
        )
    return _POOLS[name]


def pool_routed(pool: Pool, x: Routed, valid: Valid) -> Pooled:
    """Return what ``pool`` makes of activations of experts, without writing out all their zeros.

    Equal to the pool of the dense tensor, ``mean`` up to the order in which floats are summed.

    Parameters
    ----------
    pool
        One of those that `pooling` returns.
    x
        The activations; 0 where a token is not routed to an expert.
    valid
        Which positions are pooled; ``None``: all.
    """
    if pool not in _ROUTED:
        return pool(x.dense(), valid)
    return _ROUTED[pool](x, valid)


def _last(x: Activations, valid: Valid) -> Pooled:
    if valid is None:
        return _at_least_float32(x[:, -1])
    positions = torch.arange(x.shape[1], device=x.device)
    last = torch.where(valid, positions, -1).argmax(dim=1)
    return _at_least_float32(x[torch.arange(len(x), device=x.device), last])


def _mean(x: Activations, valid: Valid) -> Pooled:
    if valid is None:  # the same operation as in the published localizers, bit for bit
        return x.mean(dim=1, dtype=_pooled_dtype(x))
    weight = valid.unsqueeze(-1)
    # where, not a product: an invalid position may hold inf or nan
    total = torch.where(weight, x, 0.0).sum(dim=1, dtype=_pooled_dtype(x))
    return total / weight.sum(dim=1)


def _max(x: Activations, valid: Valid) -> Pooled:
    masked = x if valid is None else x.masked_fill(~valid.unsqueeze(-1), -torch.inf)
    return _at_least_float32(masked.amax(dim=1))


def _cls(x: Activations, _: Valid) -> Pooled:
    return _at_least_float32(x[:, 0])


def _none(x: Activations, _: Valid) -> Pooled:
    return _at_least_float32(x.flatten(1))


def _at_least_float32(x: Tensor) -> Tensor:
    """Return a copy: the model may write into ``x`` later in the pass (``+=``, in-place ReLU)."""
    return x.to(_pooled_dtype(x), copy=True)


def _pooled_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


_POOLS: Mapping[str, Pool] = {
    "last": _last,
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "none": _none,
}


def _last_routed(x: Routed, valid: Valid) -> Pooled:
    at = torch.arange(x.shape[1], device=x.like.device)
    last = at[-1:] if valid is None else torch.where(valid, at, -1).amax(1, keepdim=True)
    pooled = _cells(x, 0.0)
    for rows in counted(x, (at == last).expand(x.shape[:2])):
        pooled[rows.cells] = rows.values.to(pooled.dtype)
    return pooled.view(x.shape[0], -1)


def _mean_routed(x: Routed, valid: Valid) -> Pooled:
    total = _cells(x, 0.0)
    for rows in counted(x, valid):
        values = rows.values.to(total.dtype)
        if values.is_cuda:  # index_add_ sums in a random order there
            total.index_put_((rows.cells,), values, accumulate=True)
        else:
            total.index_add_(0, rows.cells, values)
    n_valid = x.shape[1] if valid is None else valid.sum(1, keepdim=True)
    return total.view(x.shape[0], -1) / n_valid


def _max_routed(x: Routed, valid: Valid) -> Pooled:
    largest = _cells(x, -torch.inf)
    n_rows = torch.zeros(len(largest), dtype=torch.long, device=largest.device)
    for rows in counted(x, valid):
        cells = rows.cells.unsqueeze(-1).expand(rows.values.shape)
        largest.scatter_reduce_(0, cells, rows.values.to(largest.dtype), "amax")
        n_rows += torch.bincount(rows.cells, minlength=len(n_rows))
    n_valid = torch.full((x.shape[0], 1), x.shape[1], device=largest.device)
    n_valid = n_valid if valid is None else valid.sum(1, keepdim=True)
    somewhere_0 = n_rows.view(x.shape[0], -1) < n_valid  # at a position routed elsewhere
    reached = torch.where(somewhere_0.view(-1, 1), largest.clamp(min=0.0), largest)
    return reached.view(x.shape[0], -1)


def _cells(x: Routed, value: float) -> Float[Tensor, "cell unit"]:
    """Return a row per stimulus and expert, filled with ``value``."""
    n_cells = x.shape[0] * x.shape[2] // x.width
    return torch.full((n_cells, x.width), value, dtype=_pooled_dtype(x.like), device=x.like.device)


_ROUTED: Mapping[Pool, Callable[[Routed, Valid], Pooled]] = {
    _last: _last_routed,
    _mean: _mean_routed,
    _max: _max_routed,
}
