"""The models that deeploc ships: small networks trained on synthetic data."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.outline import Outline
from deeploc.errors import AdapterError

from ._torch.device import check_unused
from ._torch.outline import outlined_by

LIBRARIES: Mapping[str, str] = {"lm": "hf", "cnn": "timm", "vit": "timm"}
"""Bundled model -> the adapter that loads its folder."""


def outline(name: str, options: ModelOptions) -> Outline:
    """Return the size of a bundled model.

    Parameters
    ----------
    name, options
        As for `load`.

    Raises
    ------
    AdapterError
        If no bundled model has this name.
    """
    with _bundled(name) as (library, path):
        size: Outline = library.outline(str(path), options)
        return size


@outlined_by(outline)
def load(name: str, options: ModelOptions) -> Adapter:
    """Load a bundled model through the adapter of its library.

    Parameters
    ----------
    name
        One of ``LIBRARIES``.
    options
        Device, dtype, batch size, untrained.

    Raises
    ------
    AdapterError
        If no bundled model has this name, or its files are not installed.
    """
    unusable = ("weights", "revision", "trust_remote_code", "device_map")
    check_unused(f"reference:{name}", options, *unusable)
    with _bundled(name) as (library, path):
        adapter: Adapter = library.load(str(path), options, called=f"reference:{name}")
        return adapter


@contextmanager
def _bundled(name: str) -> Iterator[tuple[Any, Path]]:
    """Return the adapter of a bundled model, and the folder of its files."""
    if name not in LIBRARIES:
        near = difflib.get_close_matches(name, LIBRARIES, n=1)
        hint = f"did you mean reference:{near[0]}? " if near else ""
        bundled = ", ".join(f"reference:{known}" for known in LIBRARIES)
        raise AdapterError(f"no reference model is called {name!r}; {hint}there are: {bundled}")
    folder = files("deeploc").joinpath("reference", name)
    if not folder.is_dir():
        raise AdapterError(
            f"the files of reference:{name} are missing from the installation; they belong in "
            f"{folder}; install deeploc again"
        )
    with as_file(folder) as path:
        yield import_module(f".{LIBRARIES[name]}", __package__), path
