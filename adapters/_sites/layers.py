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
    turns token ids into vectors is of kind ``embedding``, all others of kind ``block``; the layer
    that makes the output of the network is left out.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.

    Returns
    -------
    list of Site
        In no order, their numbers of units not filled in; empty for a network that has a stack of
        larger parts, or no layers.
    """
    stack = [model.get_submodule(path) for path in largest_stack(model, trace)]
    if any(next(part.children(), None) is not None for part in stack):
        return []
    layers = [call for call in trace.calls if _is_layer(model, call.path, trace)]
    hidden = list(dict.fromkeys(_hidden(model, trace, layers)))
    embeddings = [
        Site(path, "embedding", 0)
        for path in trace.embeddings
        if path and _is_layer(model, path, trace)
    ]
    return [*embeddings, *hidden]


def _hidden(model: nn.Module, trace: Trace, layers: list[Call]) -> Iterator[Site]:
    """Yield the sites of all layers but the last, if that returns what the network returns."""
    output = trace[""].output_id if "" in trace or "" in trace.embeddings else None
    for call in layers:
        found = None
        if isinstance(getattr(model.get_submodule(call.path), "weight", None), Tensor):
            found = after_activation(model, trace, call)
        site = Site(call.path, "block", 0) if found is None else found
        last = trace[site.path].output_id == output and site.tap == "output"
        if not last or len(layers) == 1:
            yield Site(site.path, "block", 0, site.tap)


def _is_layer(model: nn.Module, path: str, trace: Trace) -> bool:
    """Return whether a module that ran has a matrix, and nothing inside that ran as a module."""
    module = model.get_submodule(path)
    inside = [f"{path}.{name}" if path else name for name, _ in module.named_modules() if name]
    if any(trace.ran(name) or name in trace.embeddings for name in inside):
        return False
    return any(parameter.ndim > 1 for parameter in module.parameters())
