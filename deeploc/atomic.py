"""Write files completely or not at all."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeploc.errors import RunError

Buffer = bytes | memoryview


def write(path: Path, content: bytes | str) -> None:
    """Write a file completely or not at all: to a temporary file that is then renamed.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    content
        Its bytes, or its text, which is encoded as UTF-8.

    Raises
    ------
    RunError
        If the folder cannot be written to.
    """
    write_parts(path, [content.encode() if isinstance(content, str) else content])


def write_parts(path: Path, parts: Iterable[Buffer]) -> None:
    """Write a file of several parts as `write` does, without joining them in memory.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    parts
        Its bytes, in order.

    Raises
    ------
    RunError
        If the folder cannot be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
        beside.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another folder") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON document, indented, keys in the order given.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    value
        The document.

    Raises
    ------
    RunError
        If the folder cannot be written to.
    ValueError
        If a number is not finite.
    """
    write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
