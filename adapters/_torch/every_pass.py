"""Hooks that must run in every forward pass: a pass that bypasses one is an error."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import Any

from torch import Tensor, nn

from deeploc.errors import AdapterError

from .hooks import SiteHook, hook_sites


@contextmanager
def hook_every_pass(model: nn.Module, hooks: Sequence[SiteHook]) -> Iterator[None]:
    """Call every hook in each forward pass made inside the context, or raise an error.

    A forward pass is a call, as ``module(x)`` or ``module.forward(x)``, of the model or of any
    module that contains hooked ones. Hooks do not run where a module is called by its ``forward``
    or lies in one whose ``forward`` was replaced, by a captured graph for example. To detect that,
    the ``forward`` of these modules is wrapped while the context lasts.

    Parameters
    ----------
    model
        The module in which the paths of ``hooks`` start.
    hooks
        What to call; without any the context does nothing.

    Raises
    ------
    AdapterError
        Naming the site whose hook did not run: at the end of the forward pass, at the latest when
        the context is left without another exception.
    """
    if not hooks:
        yield
        return
    counts = [_Count(hook) for hook in hooks]
    passes = _Passes(counts)
    watches = _watches(model, counts, passes)
    with hook_sites([count.counting() for count in counts]), ExitStack() as stack:
        for watch in watches:
            stack.enter_context(_watched(watch))
            if len(watch.inside) == len(counts):
                stack.callback(watch.module.register_forward_pre_hook(watch.call).remove)
        yield
        passes.check(watches)


@dataclass(eq=False)
class _Count:
    """How often a hook ran, and how often it should have: once per ``forward`` of its module."""

    hook: SiteHook
    ran: int = 0
    due: int = 0
    before: int = 0
    """``ran`` at the beginning of the current forward pass."""

    def counting(self) -> SiteHook:
        """Return the hook, made to count its calls."""
        call = self.hook.function

        def function(x: Tensor) -> Tensor | None:
            self.ran += 1
            return call(x)

        return replace(self.hook, function=function)


class _Passes:
    """The forward passes made so far; the outermost ``forward`` of each is where it ends."""

    def __init__(self, counts: Sequence[_Count]) -> None:
        self.depth = 0
        self._counts = counts
        self._error: AdapterError | None = None

    def begin(self) -> None:
        """Note how often every hook has run before this pass."""
        for count in self._counts:
            count.before = count.ran

    def end(self, inside: Sequence[_Count]) -> None:
        """Raise an error unless every hook ``inside`` the outermost module ran."""
        for count in inside:
            if count.ran == count.before or count.ran < count.due:
                raise self._bypassed(count)

    def check(self, watches: Sequence["_Watch"]) -> None:
        """Raise the error of any pass so far, also one that was caught meanwhile."""
        if self._error:
            raise self._error
        for count in self._counts:
            if count.ran < count.due:
                raise self._bypassed(count)
        for watch in watches:
            watch.check_in_place()
            if watch.called > watch.forwards and watch.inside:
                raise self._bypassed(watch.inside[0])

    def _bypassed(self, count: _Count) -> AdapterError:
        self._error = AdapterError(
            f"site {count.hook.site} was not ablated in a forward pass, because its hook did not "
            "run: its module was not called, was called as `module.forward(x)`, gave no tensor, or "
            "lies in a module whose forward was replaced; call modules as `module(x)`, use the "
            "model without captured or replaced code, or ablate sites that run in every pass"
        )
        return self._error


@dataclass(eq=False)
class _Watch:
    """One module whose ``forward`` is followed: a hooked one, or one that contains some."""

    module: nn.Module
    path: str
    passes: _Passes
    inputs: list[_Count] = field(default_factory=list)
    outputs: list[_Count] = field(default_factory=list)
    inside: list[_Count] = field(default_factory=list)
    called: int = 0
    """Calls as ``module(x)``, counted only for modules that contain every hooked one."""
    forwards: int = 0

    def begin(self) -> None:
        """Note the beginning of a ``forward``."""
        if not self.passes.depth:
            self.passes.begin()
        self.passes.depth += 1
        self.forwards += 1
        for count in self.inputs:
            count.due += 1

    def fail(self) -> None:
        """Note a ``forward`` that raised an exception: no complete pass."""
        self.passes.depth -= 1

    def end(self) -> None:
        """Note the end of a ``forward``; that of the outermost one ends a pass."""
        self.passes.depth -= 1
        for count in self.outputs:
            count.due += 1
        if not self.passes.depth:
            self.passes.end(self.inside)

    def call(self, *_: Any) -> None:
        """Note a call as ``module(x)``."""
        self.called += 1

    def check_in_place(self) -> None:
        """Refuse a ``forward`` that was replaced: whether hooks run below it is unknown."""
        forward = vars(self.module).get("forward")
        if not isinstance(forward, _Recorder) or self not in forward.watches:
            name = f"module {self.path}" if self.path else "the model"
            raise AdapterError(
                f"the forward of {name} was replaced while units of it were ablated, so that the "
                "ablation may not have taken effect; replace it before, and ablate afterwards"
            )


class _Recorder:
    """Stands in for the ``forward`` of a module and reports its calls."""

    def __init__(self, module: nn.Module) -> None:
        self.replaced = vars(module).get("forward")
        """What was set on the module itself; ``None`` where ``forward`` is that of its class."""
        self.watches: tuple[_Watch, ...] = ()
        self._forward = module.forward
        update_wrapper(self, module.forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        watches = self.watches
        for watch in watches:
            watch.begin()
        try:
            output = self._forward(*args, **kwargs)
        except BaseException:
            for watch in watches:
                watch.fail()
            raise
        for watch in watches:
            watch.end()
        return output


@contextmanager
def _watched(watch: _Watch) -> Iterator[None]:
    """Follow the calls of one module; contexts may be left in any order."""
    attributes = vars(watch.module)  # a module's own __setattr__ may refuse a forward
    current = attributes.get("forward")
    recorder = current if isinstance(current, _Recorder) else _Recorder(watch.module)
    attributes["forward"] = recorder
    recorder.watches = (*recorder.watches, watch)
    try:
        yield
    finally:
        recorder.watches = tuple(other for other in recorder.watches if other is not watch)
        if not recorder.watches and attributes.get("forward") is recorder:
            del attributes["forward"]
            if recorder.replaced is not None:
                attributes["forward"] = recorder.replaced


def _watches(model: nn.Module, counts: Sequence[_Count], passes: _Passes) -> list[_Watch]:
    """Return every hooked module and every one around it, by their paths."""
    watches = {"": _Watch(model, "", passes)}
    for count in counts:
        watch = watches[""]
        for name in count.hook.path.split(".") if count.hook.path else []:
            watch.inside.append(count)
            path = f"{watch.path}.{name}" if watch.path else name
            if path not in watches:
                watches[path] = _Watch(watch.module.get_submodule(name), path, passes)
            watch = watches[path]
        (watch.inputs if count.hook.tap == "input" else watch.outputs).append(count)
    return list(watches.values())
