"""The names of the contrasts that deeploc ships."""

from importlib.resources import files
from pathlib import Path


def available() -> list[str]:
    """Return the names of the shipped contrasts, of those in folders as FOLDER/NAME."""
    root = Path(str(files("deeploc.contrasts")))
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(names)
