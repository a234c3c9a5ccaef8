"""What is wrong with an installation, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Parameters
    ----------
    what
        What is wrong, with the value and the place.
    remedy
        What to do.
    broken
        Whether deeploc, or a part of it that was asked for, cannot work so; else it is a warning.
    """

    what: str
    remedy: str
    broken: bool = True
