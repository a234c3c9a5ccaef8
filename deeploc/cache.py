"""Where deeploc keeps what it has downloaded or rendered, and whether it may download."""

import os
from pathlib import Path

import platformdirs

OFFLINE = ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid deeploc any connection; 0 and nothing stand for no."""


def offline(*more: str) -> bool:
    """Return whether one of `OFFLINE`, or of the variables in ``more``, is set."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in (*OFFLINE, *more))


def cache_root() -> Path:
    """Return the absolute path of the cache: ``DEEPLOC_CACHE_DIR``, else the user's own."""
    said = os.environ.get("DEEPLOC_CACHE_DIR")
    return Path(said).absolute() if said else platformdirs.user_cache_path("deeploc")
