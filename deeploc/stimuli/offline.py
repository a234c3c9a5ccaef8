"""Whether the net may be asked."""

import os

OFFLINE = ("DEEPLOC_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid deeploc any connection; 0 and nothing stand for no."""


def offline(*more: str) -> bool:
    """Return whether one of `OFFLINE`, or of the variables in ``more``, is set."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in (*OFFLINE, *more))
