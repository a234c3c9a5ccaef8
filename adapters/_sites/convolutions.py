"""Where the output of each convolution stands after its normalization and activation."""

from torch import nn

from deeploc.core.units import Site

from .trace import Call, Trace

_CLASSES = ("relu", "gelu", "silu", "swish", "mish", "elu", "sigmoid", "tanh", "softplus", "act")


def post_activations(model: nn.Module, trace: Trace) -> list[Site]:
    """Return a site behind the activation of every convolution that has one of its own.

    The tensor is followed from the convolution through modules without weights of more than one
    axis (normalization, activation, dropout) to the first activation. Where that module serves
    several places in the forward pass, the site is the input of the one layer that takes its
    result. Convolutions whose activation is a function, not a module, are passed over. Units and
    positions are left to be filled in.
    """
    found = (_behind(model, trace, call) for call in trace.calls if _is_map(model, call))
    return [site for site in found if site is not None]


def _behind(model: nn.Module, trace: Trace, conv: Call) -> Site | None:
    here = conv
    while (after := _next(model, trace, here, conv)) is not None:
        if _activates(model.get_submodule(after.path)):
            return _site(model, trace, after)
        here = after
    return None


def _next(model: nn.Module, trace: Trace, here: Call, conv: Call) -> Call | None:
    """Return the first call that takes what ``here`` made, if it is elementwise."""
    takers = _takers(trace, here)
    if not takers:
        return None
    module = model.get_submodule(takers[0].path)
    elementwise = takers[0].returned == conv.returned and not _weighs(module)
    return takers[0] if elementwise else None


def _site(model: nn.Module, trace: Trace, act: Call) -> Site | None:
    if trace.once(act.path):
        return Site(act.path, "conv", 0)
    takers = _takers(trace, act)
    layers = [t for t in takers if _weighs(model.get_submodule(t.path))]
    innermost = [t for t in layers if not any(o.path.startswith(f"{t.path}.") for o in layers)]
    if len(innermost) == 1 == len(layers) and trace.once(layers[0].path):
        return Site(layers[0].path, "conv", 0, "input")
    return None


def _takers(trace: Trace, call: Call) -> list[Call]:
    """Return the later calls that take what ``call`` made, the earliest and outermost first."""
    later = [c for c in trace.calls if c.took == call.made and c.started > call.ended]
    return sorted(later, key=lambda c: c.started)


def _is_map(model: nn.Module, call: Call) -> bool:
    weight = getattr(model.get_submodule(call.path), "weight", None)
    return getattr(weight, "ndim", 0) == 4 == len(call.returned)


def _weighs(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _activates(module: nn.Module) -> bool:
    """Return whether an activation is among the innermost parts of ``module``."""
    innermost = [m for m in module.modules() if next(m.children(), None) is None]
    return any(sign in type(m).__name__.lower() for m in innermost for sign in _CLASSES)
