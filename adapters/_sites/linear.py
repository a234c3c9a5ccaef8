"""Which modules are linear layers, told by what they do to numbers, not by their class."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .paths import above
from .trace import Call, Trace

_TOLERANCE = 0.1
"""Of additivity: eight bits round by about 1 %; normalization is 40 % off."""

_REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError)


def linear_layers(model: nn.Module, trace: Trace) -> Mapping[str, Call]:
    """Return the calls of all linear layers: they map (..., in) to (..., out) per position.

    A layer whose weight is a matrix of these two widths is one, and one that maps each group of
    (..., group, in) by a part of its weight. Any other, such as a quantised
    layer, is tried out on random numbers: its map must be additive up to its bias, and must not
    treat every unit by itself, as identities and scales do.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    trace
        One forward pass of it.

    Returns
    -------
    Mapping
        Path -> its last call, in the order of the forward pass.
    """
    last = {call.path: call for call in trace.calls}
    outer = {around for path in last for around in above(path)}
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return {
        path: call
        for path, call in last.items()
        if path not in outer and _is_linear(model.get_submodule(path), call, example)
    }


def _is_linear(module: nn.Module, call: Call, example: Tensor) -> bool:
    if call.input_shape[:-1] != call.output_shape[:-1]:
        return False
    n_in, n_out = call.input_shape[-1], call.output_shape[-1]
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point():
        n_groups = call.input_shape[-2] if len(call.input_shape) > 3 else 1
        shapes = sorted((n_in, n_out)), sorted((n_in, n_groups * n_out))
        return weight.ndim == 2 and sorted(weight.shape) in shapes
    return _acts_linearly(module, n_in, n_out, example)


@torch.inference_mode()
def _acts_linearly(module: nn.Module, n_in: int, n_out: int, example: Tensor) -> bool:
    """Return whether a module is additive on random vectors and mixes their entries."""
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn((2, n_in), generator=random)
    single = torch.zeros(n_in)
    single[0] = first.norm()
    x = torch.stack([first, second, first + second, single, torch.zeros(n_in)])
    own = next((t for t in module.state_dict().values() if isinstance(t, Tensor)), example)
    device = "cpu" if own.is_meta else own.device  # offloaded weights come when they are needed
    try:
        y = module.forward(x[None].to(device, example.dtype))
    except _REFUSALS:  # it takes other inputs than one sequence of vectors
        return False
    if not isinstance(y, Tensor) or y.shape != (1, len(x), n_out):
        return False
    one, other, both, alone = (y[0, :4] - y[0, 4]).float().cpu()
    error = (both - one - other).norm()
    by_itself = n_in == n_out and not alone[1:].any()
    return bool(error < _TOLERANCE * both.norm()) and not by_itself
