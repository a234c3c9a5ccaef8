"""The one hook primitive of every torch adapter: read and edit what enters or leaves a module."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deeploc.core.units import Tap

Visit = Callable[[Tensor], Tensor | None]
"""Called with the tensor at a tap; a tensor it returns takes its place, ``None`` leaves it."""


@dataclass(frozen=True)
class Tapped:
    """One side of a module, and who visits the tensor there."""

    module: nn.Module
    tap: Tap
    visit: Visit


@contextmanager
def visiting(taps: Iterable[Tapped]) -> Iterator[None]:
    """Visit every tap in every forward pass made inside the context.

    A module that returns (or is given) several values is read and written at the first tensor
    among them; everything else passes through untouched. The hooks set here, and no others, are
    gone when the context ends, however it ends.
    """
    with ExitStack() as stack:
        for tapped in taps:
            stack.callback(_register(tapped).remove)
        yield


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a tensor, tuple, list, mapping or dataclass, if there is one."""
    if isinstance(value, Tensor):
        return value
    found = (first_tensor(item) for _, item in _items(value))
    return next((tensor for tensor in found if tensor is not None), None)


def replace_first(value: Any, visit: Visit) -> Any:
    """Return ``value`` with its first tensor as ``visit`` leaves it, in the same structure.

    The very same object comes back when nothing was replaced; containers are never changed in
    place, because the model may still hold them.
    """
    if isinstance(value, Tensor):
        new = visit(value)
        return value if new is None else new
    for key, item in _items(value):
        if first_tensor(item) is not None:
            new = replace_first(item, visit)
            return value if new is item else _with(value, key, new)
    return value


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):  # transformers' ModelOutput is one
        return value.items()
    if isinstance(value, tuple | list):
        return enumerate(value)
    return [(name, getattr(value, name)) for name in getattr(value, "__dataclass_fields__", ())]


def _with(value: Any, key: Any, new: Any) -> Any:
    """Return a copy of the container ``value`` with ``new`` at ``key``."""
    if isinstance(value, tuple):
        items = (*value[:key], new, *value[key + 1 :])
        return type(value)(*items) if hasattr(value, "_fields") else items
    copied = copy(value)
    if isinstance(value, Mapping | list):
        copied[key] = new
    else:
        object.__setattr__(copied, key, new)  # a dataclass may be frozen
    return copied


def _register(tapped: Tapped) -> RemovableHandle:
    if tapped.tap == "input":
        before = partial(_before, tapped.visit)
        return tapped.module.register_forward_pre_hook(before, with_kwargs=True)
    return tapped.module.register_forward_hook(partial(_after, tapped.visit))


def _before(visit: Visit, _module: nn.Module, args: Any, kwargs: Any) -> Any:
    if first_tensor(args) is not None:
        new = replace_first(args, visit)
        return None if new is args else (new, kwargs)
    new = replace_first(kwargs, visit)
    return None if new is kwargs else (args, new)


def _after(visit: Visit, _module: nn.Module, _args: Any, output: Any) -> Any:
    new = replace_first(output, visit)
    return None if new is output else new
