"""Sites of a network without repeated blocks: its layers, one after the other."""

from collections.abc import Iterator

from torch import Tensor, nn

from deeploc.core.units import Site

from .convolutions import after_activation
from .trace import Call, Trace
from .trunk import largest_stack


def plain_layers(model: nn.Module, trace: Trace) -> list[Site]:
    """Return a site for every layer, after its activation where that is a module.

    A layer is an innermost module with a matrix of weights: linear, convolutional, recurrent. What
    turns token ids into vectors is of kind ``embedding``, all others of kind ``block``. The layer
    that makes the output of the network is left out, unless it has an activation.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.

    Returns
    -------
    list of Site
        In no order, their numbers of units not filled in; empty for a network that has a list of
        modules, or a stack of larger parts than layers, and for one without layers.
    """
    if _has_stack_of_parts(model, trace):
        return []
    embeddings = [path for path in trace.embeddings if _is_layer(model, path, trace)]
    layers = [call for call in trace.calls if _is_layer(model, call.path, trace)]
    hidden = dict.fromkeys(_hidden(model, trace, layers))
    return [*(Site(path, "embedding", 0) for path in embeddings), *hidden]


def _has_stack_of_parts(model: nn.Module, trace: Trace) -> bool:
    for path in largest_stack(model, trace):
        within = model.get_submodule(path.rpartition(".")[0])
        has_parts = next(model.get_submodule(path).children(), None) is not None
        if has_parts or isinstance(within, nn.ModuleList):
            return True
    return False


def _hidden(model: nn.Module, trace: Trace, layers: list[Call]) -> Iterator[Site]:
    """Yield the sites of all layers but one that returns the output and has no activation."""
    whole = trace[""].output_id if "" in trace or "" in trace.embeddings else None
    for call in layers:
        has_weight = isinstance(getattr(model.get_submodule(call.path), "weight", None), Tensor)
        after = after_activation(model, trace, call) if has_weight else None
        if after is not None:
            yield Site(after.path, "block", 0, after.tap)
        elif call.output_id != whole:
            yield Site(call.path, "block", 0)


def _is_layer(model: nn.Module, path: str, trace: Trace) -> bool:
    """Return whether a module that ran has a matrix, and nothing inside that ran as a module."""
    module = model.get_submodule(path)
    inside = [f"{path}.{name}" for name, _ in module.named_modules() if name]
    if not path or any(trace.ran(name) or name in trace.embeddings for name in inside):
        return False
    return any(parameter.ndim > 1 for parameter in module.parameters())
