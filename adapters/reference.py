"""The models that deeploc ships: small networks trained on synthetic data."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import as_file, files

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.errors import AdapterError

from ._torch.device import check_unused

LIBRARIES: Mapping[str, str] = {"lm": "hf", "cnn": "timm", "vit": "timm"}
"""Bundled model -> the adapter that loads its folder."""


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
        library = import_module(f".{LIBRARIES[name]}", __package__)
        adapter: Adapter = library.load(str(path), options, called=f"reference:{name}")
        return adapter
