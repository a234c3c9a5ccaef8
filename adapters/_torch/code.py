"""The code and the settings of a module: an edited ``forward`` is another model."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from tokenize import TokenError
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

_LIBRARIES = {
    *("torch", "torchvision", "timm", "transformers", "deeploc"),
    "accelerate",  # it wraps the forward of modules to move their weights, and changes no number
    *sys.stdlib_module_names,
}
"""Top-level packages whose code is known by their name."""

_REMOTE = "transformers_modules"
"""The package in which transformers keeps the code of checkpoints."""

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None))
_NO_SETTINGS = {
    *("training", "device", "gradient_checkpointing", "grad_checkpointing"),
    *("tokenizer", "transform", "preprocess", "classes", "pretrained_cfg", "default_cfg"),
}
"""Attributes of modules that change no activation of the module itself."""


def module_code(model: nn.Module) -> list[str]:
    """Return the code of ``model`` that is not of torch, torchvision, timm or transformers.

    Returns
    -------
    list of str
        For the class of every module within, its bases, and functions set on a module (a
        ``forward``, hooks, activations), and for the functions, classes and constants of their own
        package that these refer to: the name and the source text, or instructions, constants and
        names where there is no source. Empty for a model made of library classes only.
    """
    code = _Code()
    for module in model.modules():
        for value in (*type(module).__mro__, *_functions_on(module)):
            code.add(value)
    return sorted(code.texts)


def remote_code(*objects: Any) -> list[str]:
    """Return the classes that a checkpoint brought with it: their code was run.

    Parameters
    ----------
    objects
        Modules, and all within them, or what else may have such a class, a tokenizer for example.
    """
    parts = (p for o in objects for p in (o.modules() if isinstance(o, nn.Module) else [o]))
    return sorted({_name(type(part)) for part in parts if _package(type(part)) == _REMOTE})


def module_settings(model: nn.Module) -> dict[str, Any]:
    """Return class and settings of every module within by path: all that is no parameter.

    Settings are the public attributes that are numbers, strings or collections of them, and the
    names of functions. A ``LeakyReLU`` of another slope has the same weights.
    """
    return {
        path: {"class": _name(type(module)), **_settings(module)}
        for path, module in model.named_modules()
    }


def _settings(module: nn.Module) -> dict[str, Any]:
    plain = {k: v for k, v in _public(module).items() if _is_plain(v)}
    names = {k: _name(v) for k, v in _public(module).items() if inspect.isroutine(v)}
    return plain | {k: v for k, v in names.items() if k != "forward"}  # compiled or not


def _public(module: nn.Module) -> dict[str, Any]:
    attributes = vars(module).items()
    return {k: v for k, v in attributes if not k.startswith("_") and k not in _NO_SETTINGS}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _CONSTANTS)


def _functions_on(module: nn.Module) -> Iterator[Any]:
    """Yield the functions and the hooks that were set on the module itself."""
    yield from filter(callable, _public(module).values())
    yield from (*module._forward_pre_hooks.values(), *module._forward_hooks.values())


class _Code:
    """Collects the code of functions and classes, and of what they refer to."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self._seen: dict[int, Any] = {}  # keeps the objects, so that no id is used again

    def add(self, value: Any) -> None:
        """Add a function or class, or what a callable object is one of, unless a library's."""
        value = _unwrapped(value)
        if not isinstance(value, FunctionType | type):
            value = type(value)
        package = _package(value)
        if id(value) in self._seen or package in _LIBRARIES:
            return
        self._seen[id(value)] = value
        functions = [value]
        if isinstance(value, type):
            self.texts.add(_class_text(value))
            functions = [m for m in map(_unwrapped, vars(value).values()) if _is_function(m)]
        for function in functions:
            self._add_function(function, package)

    def _add_function(self, function: FunctionType, package: str) -> None:
        self.texts.add(f"{_name(function)}\n{_function_text(function)}")
        for name, value in _references(function, package):
            if isinstance(value, _CONSTANTS):
                self.texts.add(f"{_name(function)}: {name} = {value!r}")
            elif _package(_unwrapped(value)) == package:
                self.add(value)


def _references(function: FunctionType, package: str) -> Iterator[tuple[str, Any]]:
    """Yield the globals, closed-over values and defaults of a function by name."""
    names = sorted(name for name in _names(function.__code__) if not name.startswith("__"))
    for name in names:
        value = function.__globals__.get(name, ...)
        if isinstance(value, ModuleType) and _package(value) == package:
            yield from ((f"{name}.{n}", getattr(value, n)) for n in names if hasattr(value, n))
        elif isinstance(value, _CONSTANTS) or callable(value):
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    defaults = dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})
    yield from ((f"default {name}", value) for name, value in defaults.items())


def _names(code: CodeType) -> set[str]:
    inner = (_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


def _unwrapped(value: Any) -> Any:
    """Return the function behind methods, properties, partials and other wrappers."""
    while not isinstance(value, type):
        if isinstance(value, FunctionType):
            if _package(value) not in _LIBRARIES or not hasattr(value, "__wrapped__"):
                break
            value = value.__wrapped__  # by torch.compile, for example
        elif isinstance(value, MethodType | staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, partial | cached_property):
            value = value.func
        elif isinstance(value, property):
            value = value.fget
        elif "__wrapped__" in getattr(value, "__dict__", {}):
            value = vars(value)["__wrapped__"]
        else:
            break
    return value


def _is_function(value: Any) -> bool:
    return isinstance(value, FunctionType)


def _class_text(cls: type) -> str:
    """Return the name, bases and constants of a class; its functions count on their own."""
    constants = {
        name: value
        for name, value in sorted(vars(cls).items())
        if isinstance(value, _CONSTANTS) and not name.startswith("__")
    }
    return f"class {_name(cls)}({', '.join(map(_name, cls.__bases__))}) {constants}"


def _function_text(function: FunctionType) -> str:
    """Return the source text of a function; one line may hold several lambdas."""
    if function.__name__ != "<lambda>":
        try:
            return inspect.getsource(function.__code__)  # of the function: not of a wrapped one
        except (OSError, TypeError, IndexError, SyntaxError, TokenError):
            pass  # made by exec, or its file is gone
    return _code_text(function.__code__)


def _code_text(code: CodeType) -> str:
    consts = [_code_text(c) if isinstance(c, CodeType) else _const_text(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names}"


def _const_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_const_text, value))})"
    if isinstance(value, frozenset):  # its order differs between processes
        return f"{{{', '.join(sorted(map(_const_text, value)))}}}"
    return repr(value)


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None)
    if _package(value) == _REMOTE:  # the rest is the place of the checkpoint
        module = str(module).rpartition(".")[2]
    return f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _package(value: Any) -> str:
    """Return the top-level package of a function, class or module."""
    if isinstance(value, FunctionType):  # its __module__ may be that of a function it wraps
        name = value.__globals__.get("__name__")
    else:
        name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None)
    return str(name or "").partition(".")[0]
