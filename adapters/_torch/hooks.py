"""Forward hooks at sites: read and replace what enters or leaves a module."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from deeploc.core.units import Site, Tap
from deeploc.errors import AdapterError, SiteError

from .recurrent import replace_packed, stimuli_first

HookFunction = Callable[[Tensor], Tensor | None]
"""Called with the tensor at a site; a tensor that it returns takes its place."""


@runtime_checkable
class Removable(Protocol):
    """Something in place that can be removed."""

    def remove(self) -> None:
        """Remove it."""
        ...


@dataclass(frozen=True)
class SiteHook:
    """A function to call with the first tensor that enters or leaves a module.

    Parameters
    ----------
    path
        Dotted path of the module in the model.
    module
        The module itself.
    tap
        ``input`` or ``output``.
    function
        Reads the tensor, and may return a replacement.
    call, calls
        As of a site: which call of the module in a pass is meant, and of how many; 0: every one.
        Who makes the pass counts them.
    """

    path: str
    module: nn.Module
    tap: Tap
    function: HookFunction
    call: int = 0
    calls: int = 0

    @classmethod
    def at(cls, site: Site, model: nn.Module, function: HookFunction) -> "SiteHook":
        """Return a hook at a site of ``model``."""
        module = model.get_submodule(site.path)
        return cls(site.path, module, site.tap, function, site.call, site.calls)

    @property
    def site(self) -> str:
        """The name of the site, for messages."""
        return Site(self.path, "", 0, self.tap, call=self.call).name

    def register(self) -> "Removable":
        """Add the hook to its module, and return what removes it."""
        return _register(self)


def eager() -> AbstractContextManager[None]:
    """Return a context in which compiled modules run their own Python code."""
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


@contextmanager
def hook_sites(hooks: Iterable[SiteHook]) -> Iterator[None]:
    """Call every hook in each forward pass made inside the context.

    A module that takes or returns several values is read and written at the first tensor among
    them; everything else passes through unchanged. Compiled modules run eagerly inside the
    context, because compiled code ignores hooks that were registered later
    (pytorch/pytorch#117758). On exit only the hooks registered here are removed.
    """
    with ExitStack() as stack:
        stack.enter_context(eager())
        for hook in hooks:
            stack.callback(hook.register().remove)
        yield


def not_run(site: str) -> AdapterError:
    """Return the error for a site that was to be read, but whose hook did not run."""
    return AdapterError(
        f"site {site} takes no part in the forward pass on this input: its module was not called "
        "as `module(x)`, or gave no tensor; `deeploc sites MODEL` lists the sites that do"
    )


def called_otherwise(site: str, called: int, calls: int) -> AdapterError:
    """Return the error for a looped module that is called more or less often than at load."""
    return SiteError(
        f"site {site}: its module was called {called} times in a forward pass, but {calls} times "
        "when the sites were found; keep the number of loops of the model as it was then, or name "
        "another site if it depends on the stimulus"
    )


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a tensor, tuple, list, mapping or dataclass, if there is one."""
    if isinstance(value, Tensor):
        return value
    tensors = (first_tensor(item) for _, item in _items(value))
    return next((tensor for tensor in tensors if tensor is not None), None)


def replace_first(value: Any, function: HookFunction) -> Any:
    """Return ``value`` with its first tensor replaced by what ``function`` returns for it.

    Parameters
    ----------
    value
        A tensor, or a tuple, list, mapping or dataclass that contains one at any depth.
    function
        Returns the replacement, or ``None`` to keep the tensor.

    Returns
    -------
    Any
        ``value`` itself if nothing was replaced, else a copy of the same structure; containers
        are never changed in place, because the model may still use them.
    """
    if isinstance(value, Tensor):
        new = function(value)
        return value if new is None else new
    if isinstance(value, PackedSequence):
        return replace_packed(value, function)
    for key, item in _items(value):
        if first_tensor(item) is not None:
            new = replace_first(item, function)
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


def _register(hook: SiteHook) -> RemovableHandle:
    if hook.tap == "input":
        before = partial(_before, hook.function)
        return hook.module.register_forward_pre_hook(before, with_kwargs=True)
    return hook.module.register_forward_hook(partial(_after, hook.function))


def _before(function: HookFunction, module: nn.Module, args: Any, kwargs: Any) -> Any:
    function = stimuli_first(module, (args, *kwargs.values()), function)
    if first_tensor(args) is not None:
        new = replace_first(args, function)
        return None if new is args else (new, kwargs)
    new = replace_first(kwargs, function)
    return None if new is kwargs else (args, new)


def _after(function: HookFunction, module: nn.Module, _args: Any, output: Any) -> Any:
    new = replace_first(output, stimuli_first(module, output, function))
    return None if new is output else new
