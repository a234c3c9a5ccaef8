"""Keep other libraries from printing: a library does not talk to its user's terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from deeploc.errors import AdapterError


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' advice and progress bars inside the context."""
    theirs: Any = import_module("transformers.utils.logging")  # half of it is untyped
    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(theirs.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


@contextmanager
def told(address: str, remedy: str, *loggers: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads a network into one line; let nothing print.

    Raises
    ------
    AdapterError
        Naming the network, the library's own words and the ``remedy``.
    """
    try:
        with _unheard(*loggers):
            yield
    except AdapterError:
        raise
    except Exception as error:  # the list of what a hub or a foreign file can raise has no end
        said = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"{address} cannot be loaded: {type(error).__name__}: {said}; {remedy}"
        ) from error


@contextmanager
def _unheard(*loggers: str) -> Iterator[None]:
    """Silence Python warnings and the named loggers, errors included, inside the context."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
