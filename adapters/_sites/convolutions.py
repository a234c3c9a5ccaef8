"""Sites of convolutions: their output after normalization and activation."""

from torch import nn

from deeploc.core.units import Site

from .trace import Call, Trace

_CLASSES = ("relu", "gelu", "silu", "swish", "mish", "elu", "sigmoid", "tanh", "softplus", "act")


def post_activations(model: nn.Module, trace: Trace) -> list[Site]:
    """Return a site after the activation of every convolution that has one of its own.

    The tensor is followed from the convolution through modules without matrices of weights
    (normalization, activation, dropout) to the first activation. Where that module is used
    several times in the forward pass, the site is the input of the one layer that takes its
    output. Convolutions whose activation is a function, not a module, are left out.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.

    Returns
    -------
    list of Site
        Of kind ``conv``, in forward order; numbers of units and positions are not filled in.
    """
    sites = (after_activation(model, trace, call) for call in trace.calls if _is_map(model, call))
    return [site for site in sites if site is not None]


def after_activation(model: nn.Module, trace: Trace, layer: Call) -> Site | None:
    """Return the site after the activation of a layer; None where that is a function.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.
    layer
        The call of the layer.
    """
    current = layer
    while (following := _next(model, trace, current, layer)) is not None:
        if _activates(model.get_submodule(following.path)):
            return _site(model, trace, following)
        current = following
    return None


def _next(model: nn.Module, trace: Trace, current: Call, conv: Call) -> Call | None:
    """Return the first call that takes the output of ``current``, if it is elementwise."""
    consumers = _consumers(trace, current)
    if not consumers:
        return None
    first = consumers[0]
    same_shape = first.output_shape == conv.output_shape
    return first if same_shape and not _has_matrix(model.get_submodule(first.path)) else None


def _site(model: nn.Module, trace: Trace, activation: Call) -> Site | None:
    if trace.called_once(activation.path):
        return Site(activation.path, "conv", 0)
    consumers = _consumers(trace, activation)
    layers = [c for c in consumers if _has_matrix(model.get_submodule(c.path))]
    innermost = [c for c in layers if not any(o.path.startswith(f"{c.path}.") for o in layers)]
    if len(innermost) == 1 == len(layers) and trace.called_once(layers[0].path):
        return Site(layers[0].path, "conv", 0, "input")
    return None


def _consumers(trace: Trace, call: Call) -> list[Call]:
    """Return the later calls that take the output of ``call``, earliest and outermost first."""
    later = [c for c in trace.calls if c.input_id == call.output_id and c.started > call.ended]
    return sorted(later, key=lambda c: c.started)


def _is_map(model: nn.Module, call: Call) -> bool:
    weight = getattr(model.get_submodule(call.path), "weight", None)
    return getattr(weight, "ndim", 0) == 4 == len(call.output_shape)


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _activates(module: nn.Module) -> bool:
    """Return whether a leaf of ``module`` is an activation."""
    innermost = [m for m in module.modules() if next(m.children(), None) is None]
    return any(name in type(m).__name__.lower() for m in innermost for name in _CLASSES)
