"""Silence: messages of other libraries are not printed inside the context, and are after it."""

import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Event

import pytest
from transformers.utils import logging as transformers_logging

from deeploc.adapters._torch.quiet import load_errors, quiet, quiet_loading
from deeploc.errors import AdapterError


def state() -> tuple[object, ...]:
    logger = logging.getLogger("transformers")
    levels = tuple(handler.level for handler in logger.handlers)
    bars = transformers_logging.is_progress_bar_enabled()
    return (logger.level, logger.propagate, levels, bars, tuple(warnings.filters))


@pytest.mark.parametrize("context", [quiet, quiet_loading])
@pytest.mark.parametrize("propagate", [True, False])
def test_messages_are_silent_inside_only(
    context: Callable[[], AbstractContextManager[None]],
    propagate: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither warnings nor messages are printed, nested or not; all settings are restored."""
    logger = transformers_logging.get_logger("transformers.models.gpt2")
    root = logging.getLogger("transformers")
    before_test, verbosity = root.propagate, transformers_logging.get_verbosity()
    root.propagate = propagate
    transformers_logging.set_verbosity_warning()
    try:
        before = state()
        with pytest.raises(KeyError), context(), context():
            logger.warning("advice")
            warnings.warn("advice", stacklevel=1)
            raise KeyError
        assert capfd.readouterr() == ("", "")
        assert state() == before
    finally:
        root.propagate = before_test
        transformers_logging.set_verbosity(verbosity)


def test_loading_errors_are_one_line() -> None:
    """Any exception becomes an AdapterError with the address and the remedy; ours pass."""
    with pytest.raises(AdapterError) as error, load_errors("timm:x", "do this", "timm"):
        raise OSError("broken\nfile")
    with pytest.raises(AdapterError, match=r"^mine$"), load_errors("timm:x", "do this"):
        raise AdapterError("mine")

    assert str(error.value) == "timm:x cannot be loaded: OSError: broken file; do this"


def test_threads_restore_what_the_first_of_them_found() -> None:
    """Where a thread enters within another one and leaves after it, all is as it was before."""
    logger, handler = logging.getLogger("transformers"), logging.NullHandler()
    logger.addHandler(handler)
    filters = list(warnings.filters)
    entered, leave = (Event(), Event()), (Event(), Event())

    def hold(number: int) -> None:
        with quiet():
            entered[number].set()
            leave[number].wait(10)

    with ThreadPoolExecutor(2) as threads:
        held = []
        for number in (0, 1):
            held.append(threads.submit(hold, number))
            entered[number].wait(10)
        inside = handler.level
        for number in (0, 1):
            leave[number].set()
            held[number].result()
    logger.removeHandler(handler)

    assert inside > logging.CRITICAL
    assert handler.level == logging.NOTSET
    assert list(warnings.filters) == filters
