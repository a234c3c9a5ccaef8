"""How positions become one number per unit and stimulus."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deeploc.errors import AdapterError
from deeploc.units import Layout

Activations = Float[Tensor, "batch position unit"]
Valid = Bool[Tensor, "batch position"] | None
"""Which positions count; ``None`` where all of them do."""
Pooled = Float[Tensor, "batch pooled"]
Pool = Callable[[Activations, Valid], Pooled]

TEXT = ("last", "mean", "max", "none")
IMAGE = ("mean", "max", "cls", "none")


def pooling(name: str, known: tuple[str, ...] = TEXT) -> Pool:
    """Return the pool called ``name``, one of ``known``, over the valid positions.

    ``last``, ``mean`` and ``max`` take padding on either side; ``cls`` is position 0; ``none``
    keeps every position, so that unit ``position * n_units + unit`` is ``unit`` at ``position``.
    All return float32, or float64 for float64 input.

    Raises
    ------
    AdapterError
        If these stimuli cannot be pooled that way.
    """
    if name not in known:
        raise AdapterError(
            f"pool {name!r} does not apply to what this model is shown; it can be "
            f"{', '.join(known)}; change `read.pool`"
        )
    return _POOLS[name]


def check_class_tokens(layout: Layout) -> None:
    """Refuse pool ``cls`` where a site has no class token.

    Raises
    ------
    AdapterError
        Naming the site.
    """
    for site in layout.sites:
        if not site.class_token:
            raise AdapterError(
                f"pool 'cls' needs a class token, and site {site.name} has none; "
                "use mean, max or none, or read other sites"
            )


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


def _cls(x: Activations, _: Valid) -> Pooled:
    return _at_least_float32(x[:, 0])


def _none(x: Activations, _: Valid) -> Pooled:
    return _at_least_float32(x.flatten(1))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(_kept(x))


def _kept(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


_POOLS: Mapping[str, Pool] = {
    "last": _last,
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "none": _none,
}
