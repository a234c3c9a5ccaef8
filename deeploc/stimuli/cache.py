"""Where deeploc keeps what it has fetched or drawn."""

import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """Return the absolute path of the cache: ``DEEPLOC_CACHE_DIR``, else the user's own."""
    said = os.environ.get("DEEPLOC_CACHE_DIR")
    return Path(said).absolute() if said else platformdirs.user_cache_path("deeploc")
