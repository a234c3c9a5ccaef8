"""The option --task: which tasks of a contrast are measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeploc.contrast.model import Contrast


def with_tasks(contrast: "Contrast", tasks: Sequence[str]) -> "Contrast":
    """Return the contrast with only these tasks, or as it is where none is named.

    Parameters
    ----------
    contrast
        The contrast; a task that it names keeps the options that it has there.
    tasks
        Values of --task: ``NAME`` or ``NAME=FILE``.

    Raises
    ------
    ContrastError
        If there is no such task.
    """
    from deeploc.contrast.source_fields import as_text

    entries = [entry for task in tasks for entry in _entries(contrast, task)]
    return contrast.with_changes([f"evaluate={as_text(entries)}"]) if entries else contrast


def _entries(contrast: "Contrast", text: str) -> list[Any]:
    """Return what ``evaluate:`` holds for a value of --task."""
    name, _, file = text.partition("=")
    if not file:
        return [{name: options} for known, options in contrast.tasks if known == name] or [name]
    path = Path(file).absolute()
    condition = path.parent.name if "*" in path.name else path.stem
    return [{name: {condition: {"file": str(path)}}}]
