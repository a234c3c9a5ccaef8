"""The folders that hold what was downloaded: where, how large, and whether they can be written."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeploc.cache import cache_root, hub_cache, hub_home
from deeploc.doctor.problems import Problem

LEAST_FREE = 2 * 10**9
"""Bytes below which a disk is called nearly full: less than a small language model takes."""


@dataclass(frozen=True)
class Cache:
    """A folder of downloads.

    Parameters
    ----------
    holds
        What is in it.
    path
        Where it is, or would be.
    chosen_by
        The environment variable that says so; empty: the default place.
    size
        Bytes of its files; None where there is none yet.
    is_counted
        Whether all of its files were counted in the time that there was.
    free
        Bytes that are free on its disk; None where the disk does not tell.
    writable
        Whether files can be put there.
    """

    holds: str
    path: str
    chosen_by: str
    size: int | None
    is_counted: bool
    free: int | None
    writable: bool


def caches(seconds: float) -> tuple[Cache, ...]:
    """Return the caches of deeploc, of the hub's models and data sets, and of torchvision.

    Parameters
    ----------
    seconds
        How long files are counted, in all.
    """
    deadline = time.monotonic() + seconds
    return tuple(_cache(*place, deadline) for place in _places())


def problems(found: Sequence[Cache]) -> Iterator[Problem]:
    """Yield a problem per cache that cannot be written, and per disk that is nearly full.

    Parameters
    ----------
    found
        The caches.
    """
    for cache in found:
        variable = cache.chosen_by or _VARIABLES[cache.holds]
        if not cache.writable:
            yield Problem(
                f"{cache.path} ({cache.holds}) cannot be written",
                f"change its permissions, or name another folder in {variable}",
            )
    full = {_device(Path(c.path)): c for c in found if c.free is not None and c.free < LEAST_FREE}
    for cache in full.values():
        yield Problem(
            f"only {size_text(cache.free or 0)} are free on the disk of {cache.path}",
            f"remove what is not needed, or name a folder of another disk in "
            f"{cache.chosen_by or _VARIABLES[cache.holds]}",
            broken=False,
        )


def size_text(size: int) -> str:
    """Return a number of bytes for reading.

    Parameters
    ----------
    size
        Bytes.

    Examples
    --------
    >>> size_text(0), size_text(999), size_text(1_234_567), size_text(80_000_000_000)
    ('0 B', '999 B', '1.2 MB', '80 GB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 9.95 else f"{value:.1f} {unit}"


_VARIABLES = {
    "deeploc": "DEEPLOC_CACHE_DIR",
    "models": "HF_HOME",
    "data sets": "HF_HOME",
    "torchvision": "TORCH_HOME",
}
"""What a cache holds -> the variable that moves it."""


def _places() -> Iterator[tuple[str, Path, str]]:
    """Yield what is held, where, and by which variable, as the libraries read them."""
    yield "deeploc", cache_root(), _set("DEEPLOC_CACHE_DIR")
    home = _set("HF_HOME")
    yield "models", hub_cache(), _set("HF_HUB_CACHE") or _set("HUGGINGFACE_HUB_CACHE") or home
    own = _set("HF_DATASETS_CACHE")
    path = Path(os.environ[own]).expanduser() if own else hub_home() / "datasets"
    yield "data sets", path, own or home
    common = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = _set("TORCH_HOME")
    base = Path(os.environ[torch]).expanduser() if torch else common / "torch"
    yield "torchvision", base / "hub" / "checkpoints", torch


def _set(variable: str) -> str:
    """Return the name of a variable that is set and not empty, else an empty text."""
    return variable if os.environ.get(variable) else ""


def _cache(holds: str, path: Path, chosen_by: str, deadline: float) -> Cache:
    place = _existing(path)
    size, counted = _size(path, deadline) if path.is_dir() else (None, True)
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        free = None
    writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return Cache(holds, str(path), chosen_by, size, counted, free, writable)


def _existing(path: Path) -> Path:
    """Return the nearest of a path and the folders above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _device(path: Path) -> int:
    return _existing(path).stat().st_dev


def _size(folder: Path, deadline: float) -> tuple[int, bool]:
    """Return the bytes of all files, links not followed, and whether all were counted."""
    total, folders = 0, [str(folder)]
    while folders:
        if time.monotonic() > deadline:
            return total, False
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_symlink():
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # removed meanwhile, or not ours to read
            continue
    return total, True
