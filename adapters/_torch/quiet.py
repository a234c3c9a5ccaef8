"""Keep other libraries from printing: a library does not write to its user's terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from importlib import import_module
from io import StringIO
from threading import Lock
from typing import Any

from deeploc.errors import AdapterError

_NOTHING = logging.CRITICAL + 1
_EACH_PASS = ("bitsandbytes.autograd._functions", "torch.utils._pytree")
"""Loggers that repeat a message in every forward pass, or whenever a package is imported."""


_lock = Lock()
_within = 0
"""How many contexts of `quiet` are open, in all threads."""
_restore = ExitStack()
"""What the last of them to be left restores."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python warnings and the messages of transformers inside the context.

    The handlers are silenced, not the logger: setting the level of a logger clears the caches of
    all loggers, which takes longer than a forward pass of a small model. Filters and handlers
    belong to the process: where several threads are inside, the first silences them and the last
    restores them.
    """
    global _within
    with _lock:
        if not _within:
            _silence(_restore)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                _restore.close()


def _silence(restore: ExitStack) -> None:
    logger = logging.getLogger("transformers")
    for handler in logger.handlers:
        restore.callback(handler.setLevel, handler.level)
        handler.setLevel(_NOTHING)
    restore.callback(setattr, logger, "propagate", logger.propagate)
    logger.propagate = False
    for other in map(logging.getLogger, _EACH_PASS):
        restore.callback(setattr, other, "disabled", other.disabled)
        other.disabled = True
    restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers and what it calls while it loads a checkpoint; no progress bars."""
    with quiet():
        library: Any = import_module("transformers.utils.logging")  # half of it is untyped
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(library.CRITICAL)
    library.disable_progress_bar()
    try:
        with quiet(), redirect_stderr(StringIO()):  # not all that is printed is logged
            yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


@contextmanager
def load_errors(address: str, remedy: str, *loggers: str) -> Iterator[None]:
    """Turn every exception of a library that loads a network into one line; print nothing.

    Parameters
    ----------
    address
        The network, as the user gave it.
    remedy
        What to do, for the message.
    loggers
        Names of the library's loggers, to be silenced meanwhile.

    Raises
    ------
    AdapterError
        With the network, the library's own message and the remedy.
    """
    try:
        with _silenced(*loggers):
            yield
    except AdapterError:
        raise
    except Exception as error:  # the list of what a hub or a foreign file can raise has no end
        reason = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"{address} cannot be loaded: {type(error).__name__}: {reason}; {remedy}"
        ) from error


@contextmanager
def _silenced(*loggers: str) -> Iterator[None]:
    """Silence Python warnings and the named loggers, errors included, inside the context."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(_NOTHING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
