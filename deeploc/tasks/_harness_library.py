"""The library lm-evaluation-harness: imported on first use, quiet, and seeded as by itself."""

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any

import numpy as np
from jinja2.sandbox import SandboxedEnvironment

from deeploc.errors import DeeplocError, TaskError

NAME = "lm-eval"

SEEDS = {"random": 0, "numpy": 1234, "fewshot": 1234}
"""Seeds of ``lm_eval.simple_evaluate``: of Python, NumPy, and the choice of examples."""


def library(module: str = "lm_eval") -> Any:
    """Return a module of the harness.

    Parameters
    ----------
    module
        Its dotted name.

    Raises
    ------
    TaskError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            utils: Any = import_module("lm_eval.utils")
            found: Any = import_module(module)
    except ImportError as error:
        raise TaskError(
            f"task {NAME!r} needs the package lm_eval, which cannot be imported ({error}); "
            f"`pip install 'deeploc[{NAME}]'`"
        ) from error
    if not isinstance(utils.env, Sandbox):
        utils.env = Sandbox(utils.env)
    return found


class Sandbox(SandboxedEnvironment):
    """An environment of Jinja whose templates cannot run Python code, each compiled once.

    Parameters
    ----------
    env
        The environment of the harness: templates give the same text as there.
    """

    def __init__(self, env: Any) -> None:
        kept = ("loader", "undefined", "keep_trailing_newline")
        super().__init__(**{name: getattr(env, name) for name in kept})
        self.filters |= env.filters
        self._compiled: dict[Any, Any] = {}

    def from_string(self, source: Any, *more: Any, **options: Any) -> Any:
        """Return a template; the harness asks for it again for every item and every model."""
        if more or options:
            return super().from_string(source, *more, **options)
        if source not in self._compiled:
            self._compiled[source] = super().from_string(source)
        return self._compiled[source]


@contextmanager
def as_by_itself(what: str) -> Iterator[None]:
    """Run code of the harness with its seeds, without its log, its bars and its tracebacks.

    Parameters
    ----------
    what
        What fails where it does, for the message.

    Raises
    ------
    TaskError
        With the harness's own message, in one line.
    """
    logger = logging.getLogger("lm_eval")
    legacy: Any = np.random  # the generator that the harness and its tasks use
    level, python, numpy = logger.level, random.getstate(), legacy.get_state()
    logger.setLevel(logging.CRITICAL)
    random.seed(SEEDS["random"])
    legacy.seed(SEEDS["numpy"])
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    except DeeplocError:
        raise
    except Exception as error:  # tasks are foreign code: what they raise has no end
        reason = " ".join(str(error).split())[:300]
        raise TaskError(f"{what}: {type(error).__name__}: {reason}") from error
    finally:
        logger.setLevel(level)
        random.setstate(python)
        legacy.set_state(numpy)
