"""How positions become one number per unit and stimulus."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deeploc.errors import AdapterError

Activations = Float[Tensor, "batch position unit"]
Valid = Bool[Tensor, "batch position"] | None
"""Which positions count; ``None`` where all of them do."""
Pooled = Float[Tensor, "batch unit"]
Pool = Callable[[Activations, Valid], Pooled]


def pooling(name: str) -> Pool:
    """Return the pool called ``name``: ``last``, ``mean`` or ``max`` over the valid positions.

    Every pool takes padding on either side and returns float32, or float64 for float64 input.

    Raises
    ------
    AdapterError
        If sequences cannot be pooled that way.
    """
    if name not in _POOLS:
        raise AdapterError(
            f"pool {name!r} does not apply to a sequence of positions; "
            f"sequences are pooled by {', '.join(_POOLS)}; change `read.pool`"
        )
    return _POOLS[name]


def _last(x: Activations, valid: Valid) -> Pooled:
    if valid is None:
        return _at_least_float32(x[:, -1])
    positions = torch.arange(x.shape[1], device=x.device)
    last = torch.where(valid, positions, -1).argmax(dim=1)
    return _at_least_float32(x[torch.arange(len(x), device=x.device), last])


def _mean(x: Activations, valid: Valid) -> Pooled:
    if valid is None:  # the very operation of the published localizers, to the last bit
        return x.mean(dim=1, dtype=_kept(x))
    weight = valid.unsqueeze(-1)
    # where, not a product: what stands at an invalid position may be inf or nan
    total = torch.where(weight, x, 0.0).sum(dim=1, dtype=_kept(x))
    return total / weight.sum(dim=1)


def _max(x: Activations, valid: Valid) -> Pooled:
    seen = x if valid is None else x.masked_fill(~valid.unsqueeze(-1), -torch.inf)
    return _at_least_float32(seen.amax(dim=1))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(_kept(x))


def _kept(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


_POOLS: Mapping[str, Pool] = {"last": _last, "mean": _mean, "max": _max}
