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


def imported(name: str, seed: int) -> Any:
    """Return the attribute at ``package.module:attribute``; a factory is called, seeded.

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
    with _current_folder_importable(), _told(name):
        found = _attribute(import_module(package), attribute)
        if isinstance(found, nn.Module) or is_adapter(found) or not callable(found):
            return found
        with seeded(seed):  # not around the import, which happens only the first time
            return found()


def is_adapter(found: Any) -> bool:
    """Return whether this is an adapter (and not a class of them), without asking it anything.

    ``isinstance(found, Adapter)`` would hash its weights and look for its sites.
    """
    parts = ("identity", "sites", "activations", "ablated")
    has_all = all(getattr_static(found, part, None) is not None for part in parts)
    return has_all and not isinstance(found, type)


def _attribute(module: ModuleType, attribute: str) -> Any:
    if not hasattr(module, attribute):
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AdapterError(f"module {module.__name__!r} has no {attribute!r}{hint}")
    return getattr(module, attribute)


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except DeeplocError:
        raise
    except Exception as error:  # what somebody else's code raises is anyone's guess
        told = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"torch:{name} cannot be made: {type(error).__name__}: {told}; it must be a module "
            "or a function without arguments, importable from here"
        ) from error


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
