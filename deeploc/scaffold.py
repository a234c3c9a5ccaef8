"""A new contrast file for a person to go on from, and the schema that their editor reads."""

import json
import os
from importlib.resources import files
from pathlib import Path

from deeploc.contrast import is_name
from deeploc.errors import ContrastError
from deeploc.schema import contrast_schema

SCHEMA_FILE = "deeploc.schema.json"
"""What the first line of a new contrast refers to, in its own folder: no network is needed."""


def new_contrast(path: Path, modality: str) -> Path:
    """Write a commented contrast of a modality, and the schema beside it; return the contrast.

    A path without ending gets ``.yaml``. The schema is written anew where it is out of date.

    Raises
    ------
    ContrastError
        If the file exists, its name is none for a contrast, or the folder cannot be written to.
    """
    path = path if path.suffix in (".yaml", ".yml") else path.with_name(f"{path.name}.yaml")
    try:
        name = is_name(path.stem)
    except ValueError as error:
        raise ContrastError(str(error)) from None
    template = files("deeploc") / "templates" / f"contrast-{modality}.yaml"
    text = template.read_text(encoding="utf-8").replace("@NAME@", name)
    schema = json.dumps(contrast_schema(), indent=2, ensure_ascii=False) + "\n"
    try:
        _write_new(path, text)
        _refresh(path.with_name(SCHEMA_FILE), schema)
    except FileExistsError:
        raise ContrastError(f"{path} exists already; choose another name, or remove it") from None
    except OSError as error:
        raise ContrastError(
            f"cannot write {path}: {error.strerror}; name a folder that exists and is yours"
        ) from None
    return path


def _write_new(path: Path, text: str) -> None:
    """Write a file whole or not at all, never over another."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        if path.exists():
            raise FileExistsError
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _refresh(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
