"""A new contrast file for a person to go on from, and the schema that their editor reads."""

import json
import os
from importlib.resources import files
from pathlib import Path

from deeploc import atomic
from deeploc.contrast.fields import is_name
from deeploc.contrast.schema import contrast_schema
from deeploc.errors import ContrastError, RunError

SCHEMA_FILE = "deeploc.schema.json"
"""What the first line of a new contrast refers to, in its own folder: no network is needed."""

_ENDINGS = (".yaml", ".yml")


def new_contrast(name: Path, modality: str, output: Path | None = None) -> Path:
    """Write a commented contrast of a modality, and the schema beside it; return the contrast.

    The file is ``name``, which gets ``.yaml`` where it does not end so, or else ``output``: a
    file, or a folder that exists. The schema is written anew where it is out of date.

    Raises
    ------
    ContrastError
        If the file exists, its name is none for a contrast, or the folder cannot be written to.
    """
    path = _with_ending(name)
    said = _name_of(path)
    if output is not None:
        path = _chosen(output, path.name)
    if os.path.lexists(path):
        raise ContrastError(f"{path} exists already; choose another name, or remove it")
    template = files("deeploc.contrast") / "templates" / f"{modality}.yaml"
    text = template.read_text(encoding="utf-8").replace("@NAME@", said)
    schema = json.dumps(contrast_schema(), indent=2, ensure_ascii=False) + "\n"
    _write(path.with_name(SCHEMA_FILE), schema)
    _write(path, text.replace("@FILE@", path.name))
    return path


def _with_ending(path: Path) -> Path:
    if not path.name:
        raise ContrastError(f"{str(path)!r} is no name; write e.g. `deeploc new my-contrast`")
    return path if path.suffix in _ENDINGS else path.with_name(f"{path.name}.yaml")


def _name_of(path: Path) -> str:
    try:
        return is_name(path.stem)
    except ValueError as error:
        raise ContrastError(str(error)) from None


def _chosen(output: Path, name: str) -> Path:
    if output.is_dir():
        return output / name
    if output.suffix not in _ENDINGS:
        raise ContrastError(
            f"{output} is neither a folder nor ends in .yaml or .yml, by which deeploc knows a "
            f"contrast file; write {output}.yaml"
        )
    return output


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and leave one alone that says the same."""
    try:
        if not path.exists() or path.read_bytes() != text.encode():
            atomic.write(path, text)
    except (OSError, RunError) as error:
        reason = getattr(error.__cause__ or error, "strerror", error)
        raise ContrastError(
            f"cannot write {path}: {reason}; name a folder that exists and is yours"
        ) from None
