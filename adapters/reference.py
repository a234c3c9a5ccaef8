"""The models that deeploc ships: small, trained on synthetic text, good for trying everything."""

import difflib
from collections.abc import Mapping
from importlib.resources import as_file, files

from deeploc.adapter import Adapter, ModelOptions
from deeploc.errors import AdapterError

from .hf import load as load_hf

FOLDERS: Mapping[str, tuple[str, ...]] = {"lm": ("reference", "lm")}


def load(name: str, options: ModelOptions) -> Adapter:
    """Load a bundled model, ``reference:lm`` so far, through the adapter of its library.

    Raises
    ------
    AdapterError
        If no bundled model has this name, or its files are not installed.
    """
    if name not in FOLDERS:
        near = difflib.get_close_matches(name, FOLDERS, n=1)
        hint = f"did you mean reference:{near[0]}? " if near else ""
        there = ", ".join(f"reference:{known}" for known in FOLDERS)
        raise AdapterError(f"no reference model is called {name!r}; {hint}there are: {there}")
    folder = files("deeploc").joinpath(*FOLDERS[name])
    if not folder.is_dir():
        raise AdapterError(
            f"the files of reference:{name} are missing from the installation; they belong in "
            f"{folder}; install deeploc again"
        )
    with as_file(folder) as path:
        return load_hf(str(path), options, called=f"reference:{name}")
