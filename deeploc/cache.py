"""The cache folder, and offline mode."""

import os
from pathlib import Path

import platformdirs

OFFLINE = ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid any connection; 0 and an empty value do not."""


def offline(*more: str) -> bool:
    """Return whether one of `OFFLINE`, or of the variables in ``more``, is set."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in (*OFFLINE, *more))


def cache_root() -> Path:
    """Return the absolute path of the cache: ``DEEPLOC_CACHE_DIR``, else that of the user."""
    folder = os.environ.get("DEEPLOC_CACHE_DIR")
    return Path(folder).absolute() if folder else platformdirs.user_cache_path("deeploc")
