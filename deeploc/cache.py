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


def hub_home() -> Path:
    """Return where the libraries of the Hugging Face hub keep their files, as they read it."""
    folder = os.environ.get("HF_HOME")
    if folder:
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"


def hub_cache() -> Path:
    """Return where the models of the hub are kept."""
    folder = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(folder).expanduser() if folder else hub_home() / "hub"
