"""Hooks that must run in every forward pass: a pass that bypasses one is an error."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import Any

from torch import Tensor, nn

from deeploc.errors import AdapterError

from .hooks import SiteHook, called_otherwise, hook_sites


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
    hook_counters = [_HookCounter(hook) for hook in hooks]
    passes = _Passes(hook_counters)
    call_counters = _call_counters(model, hook_counters, passes)
    with hook_sites([counter.counting() for counter in hook_counters]), ExitStack() as stack:
        for calls in call_counters:
            stack.enter_context(_count_calls(calls))
            if len(calls.inside) == len(hook_counters):
                stack.callback(calls.module.register_forward_pre_hook(calls.call).remove)
        yield
        passes.check(call_counters)


@dataclass(eq=False)
class _HookCounter:
    """How often a hook ran, and how often it should have: once per ``forward`` of its module."""

    hook: SiteHook
    ran: int = 0
    due: int = 0
    before: int = 0
    """``ran`` at the beginning of the current forward pass."""

    def counting(self) -> SiteHook:
        """Return the hook, made to count its calls."""
        edit, wanted = self.hook.function, self.hook.call

        def function(x: Tensor) -> Tensor | None:
            self.ran += 1
            return edit(x) if wanted in (0, self.ran - self.before) else None

        return replace(self.hook, function=function)


class _Passes:
    """The forward passes made so far; the outermost ``forward`` of each is where it ends."""

    def __init__(self, hook_counters: Sequence[_HookCounter]) -> None:
        self.depth = 0
        self._hook_counters = hook_counters
        self._error: AdapterError | None = None

    def begin(self) -> None:
        """Note how often every hook has run before this pass."""
        for counter in self._hook_counters:
            counter.before = counter.ran

    def end(self, inside: Sequence[_HookCounter]) -> None:
        """Raise an error unless every hook ``inside`` the outermost module ran."""
        for counter in inside:
            if counter.ran == counter.before or counter.ran < counter.due:
                raise self._bypassed(counter)
            if counter.hook.calls not in (0, counter.ran - counter.before):
                raise self._otherwise(counter)

    def check(self, call_counters: Sequence["_CallCounter"]) -> None:
        """Raise the error of any pass so far, also one that was caught meanwhile."""
        if self._error:
            raise self._error
        for counter in self._hook_counters:
            if counter.ran < counter.due:
                raise self._bypassed(counter)
        for calls in call_counters:
            calls.check_in_place()
            if calls.called > calls.forwards and calls.inside:
                raise self._bypassed(calls.inside[0])

    def _otherwise(self, counter: _HookCounter) -> AdapterError:
        called = counter.ran - counter.before
        self._error = called_otherwise(counter.hook.site, called, counter.hook.calls)
        return self._error

    def _bypassed(self, counter: _HookCounter) -> AdapterError:
        self._error = AdapterError(
            f"site {counter.hook.site} was not ablated in a forward pass, because its hook did not "
            "run: its module was not called, was called as `module.forward(x)`, gave no tensor, or "
            "lies in a module whose forward was replaced; call modules as `module(x)`, use the "
            "model without captured or replaced code, or ablate sites that run in every pass"
        )
        return self._error


@dataclass(eq=False)
class _CallCounter:
    """One module whose ``forward`` is followed: a hooked one, or one that contains some."""

    module: nn.Module
    path: str
    passes: _Passes
    inputs: list[_HookCounter] = field(default_factory=list)
    outputs: list[_HookCounter] = field(default_factory=list)
    inside: list[_HookCounter] = field(default_factory=list)
    called: int = 0
    """Calls as ``module(x)``, counted only for modules that contain every hooked one."""
    forwards: int = 0

    def begin(self) -> None:
        """Note the beginning of a ``forward``."""
        if not self.passes.depth:
            self.passes.begin()
        self.passes.depth += 1
        self.forwards += 1
        for counter in self.inputs:
            counter.due += 1

    def fail(self) -> None:
        """Note a ``forward`` that raised an exception: no complete pass."""
        self.passes.depth -= 1

    def end(self) -> None:
        """Note the end of a ``forward``; that of the outermost one ends a pass."""
        self.passes.depth -= 1
        for counter in self.outputs:
            counter.due += 1
        if not self.passes.depth:
            self.passes.end(self.inside)

    def call(self, *_: Any) -> None:
        """Note a call as ``module(x)``."""
        self.called += 1

    def check_in_place(self) -> None:
        """Refuse a ``forward`` that was replaced: whether hooks run below it is unknown."""
        forward = vars(self.module).get("forward")
        if not isinstance(forward, _Recorder) or self not in forward.call_counters:
            name = f"module {self.path}" if self.path else "the model"
            raise AdapterError(
                f"the forward of {name} was replaced while units of it were ablated, so that the "
                "ablation may not have taken effect; replace it before, and ablate afterwards"
            )


class _Recorder:
    """Replaces the ``forward`` of a module, calls it, and reports the calls."""

    def __init__(self, module: nn.Module) -> None:
        self.replaced = vars(module).get("forward")
        """What was set on the module itself; ``None`` where ``forward`` is that of its class."""
        self.call_counters: tuple[_CallCounter, ...] = ()
        self._forward = module.forward
        update_wrapper(self, module.forward, updated=())  # not the attributes of another wrapper

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call_counters = self.call_counters
        for calls in call_counters:
            calls.begin()
        try:
            output = self._forward(*args, **kwargs)
        except BaseException:
            for calls in call_counters:
                calls.fail()
            raise
        for calls in call_counters:
            calls.end()
        return output


@contextmanager
def _count_calls(calls: _CallCounter) -> Iterator[None]:
    """Follow the calls of one module; contexts may be left in any order."""
    attributes = vars(calls.module)  # a module's own __setattr__ may refuse a forward
    current = attributes.get("forward")
    recorder = current if isinstance(current, _Recorder) else _Recorder(calls.module)
    attributes["forward"] = recorder
    recorder.call_counters = (*recorder.call_counters, calls)
    try:
        yield
    finally:
        recorder.call_counters = tuple(
            other for other in recorder.call_counters if other is not calls
        )
        if not recorder.call_counters and attributes.get("forward") is recorder:
            del attributes["forward"]
            if recorder.replaced is not None:
                attributes["forward"] = recorder.replaced


def _call_counters(
    model: nn.Module, hook_counters: Sequence[_HookCounter], passes: _Passes
) -> list[_CallCounter]:
    """Return every hooked module and every one around it, by their paths."""
    call_counters = {"": _CallCounter(model, "", passes)}
    for counter in hook_counters:
        calls = call_counters[""]
        for name in counter.hook.path.split(".") if counter.hook.path else []:
            calls.inside.append(counter)
            path = f"{calls.path}.{name}" if calls.path else name
            if path not in call_counters:
                call_counters[path] = _CallCounter(calls.module.get_submodule(name), path, passes)
            calls = call_counters[path]
        (calls.inputs if counter.hook.tap == "input" else calls.outputs).append(counter)
    return list(call_counters.values())
