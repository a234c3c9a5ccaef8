"""Write a new contrast file to edit, and the JSON Schema beside it for the editor."""

import json
import os
from importlib.resources import files
from pathlib import Path

from deeploc import atomic
from deeploc.contrast.fields import check_name
from deeploc.contrast.schema import contrast_schema
from deeploc.errors import ContrastError, RunError

SCHEMA_FILE = "deeploc.schema.json"
"""The schema that the first line of a new contrast refers to, in the same folder."""

_ENDINGS = (".yaml", ".yml")


def new_contrast(name: Path, modality: str, output: Path | None = None) -> Path:
    """Write a commented contrast, and the schema beside it; return the path of the contrast.

    The schema is rewritten where it is out of date.

    Parameters
    ----------
    name
        The path of the new file, with or without ``.yaml``; its last part names the contrast.
    modality
        ``text`` or ``image``.
    output
        Another path for the file, or a folder that exists.

    Raises
    ------
    ContrastError
        If the file exists, a contrast cannot have its name, or the folder cannot be written to.
    """
    path = _with_ending(name)
    contrast_name = _name_of(path)
    if output is not None:
        path = _output_path(output, path.name)
    if os.path.lexists(path):
        raise ContrastError(f"{path} exists already; choose another name, or remove it")
    template = files("deeploc.contrast") / "templates" / f"{modality}.yaml"
    text = template.read_text(encoding="utf-8").replace("@NAME@", contrast_name)
    schema = json.dumps(contrast_schema(), indent=2, ensure_ascii=False) + "\n"
    _write(path.with_name(SCHEMA_FILE), schema)
    _write(path, text.replace("@FILE@", path.name))
    return path


def _with_ending(path: Path) -> Path:
    if not path.name:
        raise ContrastError(f"{str(path)!r} is not a name; write e.g. `deeploc new my-contrast`")
    return path if path.suffix in _ENDINGS else path.with_name(f"{path.name}.yaml")


def _name_of(path: Path) -> str:
    try:
        return check_name(path.stem)
    except ValueError as error:
        raise ContrastError(str(error)) from None


def _output_path(output: Path, name: str) -> Path:
    if output.is_dir():
        return output / name
    if output.suffix not in _ENDINGS:
        raise ContrastError(
            f"{output} is neither a folder nor ends in .yaml or .yml, as contrast files do; write "
            f"{output}.yaml"
        )
    return output


def _write(path: Path, text: str) -> None:
    """Write a file completely or not at all; an equal file is not touched."""
    try:
        if not path.exists() or path.read_bytes() != text.encode():
            atomic.write(path, text)
    except (OSError, RunError) as error:
        reason = getattr(error.__cause__ or error, "strerror", error)
        raise ContrastError(
            f"cannot write {path}: {reason}; name a folder that exists and can be written"
        ) from None
