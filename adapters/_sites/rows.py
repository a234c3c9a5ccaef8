"""Which weights compute the units of a site, or read them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deeploc.adapters._torch.weights import Rows
from deeploc.core.units import Layout, Site

from .trace import Call, Trace, trace_calls

_Axes = tuple[int, int]
"""The axes of a tensor of weights that hold outputs and inputs."""


def rows_of(model: nn.Module, layout: Layout, run: Callable[[], Any]) -> dict[str, Rows]:
    """Return, by the name of the site, where the weights of its units are.

    Units that enter a projection are its inputs (columns of a linear layer). Any other unit is an
    output of the last matrix that is called before it is there and has as many outputs as the site
    has units: the down projection of a block, the output projection of an attention module, the
    convolution before a normalization. A site without such a matrix is left out.

    Parameters
    ----------
    model
        The module in which the paths of the sites start.
    layout
        The sites.
    run
        Makes one forward pass.
    """
    trace = trace_calls(model, run)
    found = {site.name: _place(model, trace, site) for site in layout.sites}
    return {name: place for name, place in found.items() if place is not None}


def _place(model: nn.Module, trace: Trace, site: Site) -> Rows | None:
    n = site.n_units * site.width
    if site.path not in trace:
        return None
    call = trace[site.path]
    if site.tap == "input":
        axes = _axes(model, call)
        reads = axes is not None and _weight(model, call.path).shape[axes[1]] == n
        return Rows(f"{call.path}.weight", axes[1]) if axes and reads else None
    inside = [c for c in trace.calls if c.ended <= call.ended and _has_matrix(model, c.path)]
    for candidate in reversed(inside):
        axes = _axes(model, candidate)
        if axes is not None and _weight(model, candidate.path).shape[axes[0]] == n:
            return Rows(f"{candidate.path}.weight", axes[0])
    return None


def _has_matrix(model: nn.Module, path: str) -> bool:
    weight = getattr(model.get_submodule(path), "weight", None)
    return isinstance(weight, nn.Parameter) and weight.ndim > 1 and weight.is_floating_point()


def _weight(model: nn.Module, path: str) -> Tensor:
    return model.get_parameter(f"{path}.weight")


def _axes(model: nn.Module, call: Call) -> _Axes | None:
    """Return the axes of outputs and inputs, told by what the layer does, if it has a matrix."""
    if not _has_matrix(model, call.path):
        return None
    layer, weight = model.get_submodule(call.path), _weight(model, call.path)
    if weight.ndim > 2:
        return (1, 0) if getattr(layer, "transposed", False) else (0, 1)
    n_in, n_out = call.input_shape[-1], call.output_shape[-1]
    if n_in != n_out:
        return (0, 1) if weight.shape == (n_out, n_in) else (1, 0)
    return (0, 1) if _multiplies_rows(layer, weight) else (1, 0)


@torch.inference_mode()
def _multiplies_rows(layer: nn.Module, weight: Tensor) -> bool:
    """Return whether a square layer computes ``x W^T`` rather than ``x W``."""
    x = torch.eye(weight.shape[0], device=weight.device, dtype=weight.dtype)[:1]
    product = layer(x) - layer(torch.zeros_like(x))
    rows, columns = (product - weight[:, 0]).norm(), (product - weight[0]).norm()
    return bool(rows <= columns)
