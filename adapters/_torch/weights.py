"""|weight x gradient| of an objective, for every tensor of weights and every unit."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.attribution import WeightAttribution
from deeploc.core.units import Layout
from deeploc.errors import AdapterError

from .gradient import differentiable
from .hooks import eager

Objective = Callable[[], Float[Tensor, ""]]
"""Makes one forward pass and returns its part of the objective."""


@dataclass(frozen=True)
class Rows:
    """Where the weights of the units of a site are.

    Parameters
    ----------
    tensor
        The name of a tensor of weights.
    axis
        Its axis along which the units stand.
    """

    tensor: str
    axis: int


def attribute_weights(
    model: nn.Module, layout: Layout, parts: Iterable[Objective], rows: Mapping[str, Rows]
) -> WeightAttribution:
    """Return |weight x gradient| of the sum of ``parts``, by tensor and by unit.

    Parameters
    ----------
    model
        The model.
    layout
        The sites whose units are told apart.
    parts
        One a forward pass; the gradient is that of their sum.
    rows
        Name of a site -> where the weights of its units are; others get nan.

    Raises
    ------
    AdapterError
        If no weight has a gradient.
    """
    with differentiable(model, weights=True), eager():
        weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        gradients = _gradients(weights, parts)
    products = {
        name: (weights[name].detach().double() * gradients[name].double()).abs().cpu()
        if weights[name].device.type != "mps"
        else (weights[name].detach().cpu().double() * gradients[name].cpu().double()).abs()
        for name in gradients
    }
    tensors = {name: (product.numel(), float(product.sum())) for name, product in products.items()}
    return WeightAttribution(
        tensors,
        _by_unit(layout, products, rows),
        {name: place.tensor for name, place in rows.items() if place.tensor in products},
    )


def _gradients(weights: Mapping[str, Tensor], parts: Iterable[Objective]) -> dict[str, Tensor]:
    gradients: dict[str, Tensor] = {}
    for part in parts:
        value = part()
        if not value.requires_grad:
            raise AdapterError(
                "no weight of this model has a gradient: its weights are quantised, or its result "
                "is taken out of the computation; load it in a floating-point format"
            )
        new = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, new, strict=True):
            if gradient is not None:
                gradients[name] = gradients[name] + gradient if name in gradients else gradient
    return gradients


def _by_unit(
    layout: Layout, products: Mapping[str, Tensor], rows: Mapping[str, Rows]
) -> np.ndarray:
    by_unit = np.full(layout.n_units, np.nan)
    for site in layout.sites:
        place = rows.get(site.name)
        if place is None or place.tensor not in products:
            continue
        product = products[place.tensor].movedim(place.axis, 0)
        sums = product.flatten(1).sum(dim=1) if product.ndim > 1 else product
        if len(sums) == site.n_units * site.width:
            by_unit[layout.slices[site.name]] = sums.reshape(site.n_units, -1).sum(dim=1).numpy()
    return by_unit
