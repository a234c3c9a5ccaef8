"""Dotted paths of modules."""

from collections.abc import Iterator
from itertools import takewhile


def common_module(first: str, second: str) -> str:
    """Return the path of the smallest module that holds the modules of both paths."""
    pairs = zip(first.split("."), second.split("."), strict=False)
    return ".".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def holds(outer: str, inner: str) -> bool:
    """Return whether the module ``outer`` is ``inner`` or holds it."""
    return not outer or f"{inner}.".startswith(f"{outer}.")


def above(path: str) -> Iterator[str]:
    """Yield the paths of the modules that hold the module of a path, the outermost first."""
    return (path[:end] for end, mark in enumerate(path) if mark == ".")
