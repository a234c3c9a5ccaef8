"""Layers with packed weights, and whether they treat the stimuli of a batch separately."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .hooks import eager, first_tensor
from .read import eval_mode

_log = logging.getLogger(__name__)
_INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32)
_LOUDER = 100.0
_ROUNDING = 1e-3
"""Relative difference above which two results are not the same but for rounding."""


def is_packed(value: Any) -> bool:
    """Return whether an entry of a state dict is a weight that is stored as integers."""
    if not isinstance(value, Tensor):
        return isinstance(value, tuple | torch.ScriptObject)
    wrapped = value.is_quantized or is_traceable_wrapper_subclass(value)
    return wrapped or (value.dtype in _INTEGERS and value.ndim > 1)


def separable_batch_size(model: nn.Module, run: Callable[[], Any], asked: int | None) -> int | None:
    """Return the batch size that was asked for, or 1 if stimuli of a batch change each other.

    Layers that quantize their input while they run may choose one scale, or the columns that they
    keep in floating point, for the whole batch: ``quantize_dynamic`` of torch and the 8-bit layers
    of bitsandbytes do. Then a row beside one that is 100 times as large is not what it is alone.

    Parameters
    ----------
    model
        The model.
    run
        Makes one small forward pass.
    asked
        The batch size otherwise.
    """
    holders = _holders(model)
    if not holders:
        return asked
    with eval_mode(model), torch.inference_mode():
        layers = _called_on_one_tensor(model, holders, run)
        if not any(_mixes(layer, x) for layer, x in layers):
            return asked
    _log.info("%s quantizes whole batches: stimuli are read one at a time", type(model).__name__)
    return 1


def _holders(model: nn.Module) -> list[str]:
    """Return the paths of the modules that hold packed weights themselves."""
    entries = model.state_dict().items()
    paths = dict.fromkeys(name.rpartition(".")[0] for name, value in entries if is_packed(value))
    modules = dict(model.named_modules())
    return [path for path in paths if path in modules]


def _called_on_one_tensor(
    model: nn.Module, holders: Sequence[str], run: Callable[[], Any]
) -> Iterable[tuple[nn.Module, Tensor]]:
    """Return one layer of every class that computes with packed weights, and its input.

    A layer of torch.ao keeps them in a module of its own, which is not called.
    """
    inputs: dict[str, tuple[nn.Module, Tensor]] = {}

    def keep(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
            inputs[path] = module, args[0].detach().clone()

    around = {path: path.rpartition(".")[0] for path in holders if path}
    with ExitStack() as stack:
        stack.enter_context(eager())
        for path in {*holders, *around.values()}:
            hook = partial(keep, path)
            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        run()
    called = (inputs.get(path) or inputs.get(around.get(path, "")) for path in holders)
    return {type(layer): (layer, x) for layer, x in filter(None, called)}.values()


def _mixes(layer: nn.Module, x: Tensor) -> bool:
    """Return whether a layer's output for one stimulus depends on a much larger one beside it."""
    if not x.is_floating_point():
        return False
    alone = first_tensor(layer(x[:1]))
    beside = first_tensor(layer(torch.cat([x[:1], _LOUDER * x[:1]])))
    if alone is None or beside is None:
        return False
    difference = (alone[:1] - beside[:1]).float().norm()
    tolerance = max(_ROUNDING, 8 * torch.finfo(x.dtype).eps)
    return bool(difference > tolerance * alone[:1].float().norm())
