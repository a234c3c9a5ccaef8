"""Import ``package.module:attribute``, from an installed package or the current folder."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from deeploc.adapters._torch.device import seeded
from deeploc.errors import AdapterError, DeeplocError


def import_object(name: str, seed: int) -> Any:
    """Return the attribute at ``package.module:attribute``, or what it makes.

    Parameters
    ----------
    name
        Address of a module, an adapter, or a factory without arguments.
    seed
        For torch's random numbers while a factory is called.

    Raises
    ------
    AdapterError
        If it cannot be imported, or the factory fails.
    """
    package, colon, attribute = name.partition(":")
    if not (package and colon and attribute):
        raise AdapterError(
            f"{name!r} names no object; write torch:package.module:attribute, "
            "e.g. torch:mymodels:make_cnn"
        )
    with _current_folder_importable(), _import_errors(name):
        value = _attribute(import_module(package), attribute)
        if isinstance(value, nn.Module) or is_adapter(value) or not callable(value):
            return value
        with seeded(seed):  # not around the import, which happens only the first time
            return value()


def is_adapter(value: Any) -> bool:
    """Return whether ``value`` is an adapter (and not a class of adapters).

    ``isinstance(value, Adapter)`` would compute its identity and discover its sites.
    """
    members = ("identity", "sites", "activations", "ablated")
    has_all = all(getattr_static(value, member, None) is not None for member in members)
    return has_all and not isinstance(value, type)


def _attribute(module: ModuleType, attribute: str) -> Any:
    if not hasattr(module, attribute):
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AdapterError(f"module {module.__name__!r} has no {attribute!r}{hint}")
    return getattr(module, attribute)


@contextmanager
def _import_errors(name: str) -> Iterator[None]:
    """Turn every exception of a user's module into one line."""
    try:
        yield
    except DeeplocError:
        raise
    except Exception as error:  # a user's code can raise anything
        reason = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"torch:{name} cannot be made: {type(error).__name__}: {reason}; it must be a module "
            "or a function without arguments, importable from the current folder"
        ) from error


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
