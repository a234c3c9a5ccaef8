"""Every error deeploc raises on purpose.

* DeeplocError
  - ContrastError   a contrast file or its stimuli are not usable
  - AdapterError    a model cannot be loaded, read or written
    . SiteError     a place in it cannot be read, whatever the stimuli are
  - MaskError       a mask does not fit the model it is applied to
  - TaskError       a task cannot be prepared or measured
  - PluginError     no plugin of that name, or two, or a broken one
  - RunError        a run folder cannot be read, written or continued
  - HubError        the hub has no such place, refuses, or does not answer
  - SweepError      a sweep file is not usable, or its workers cannot be started

The command line turns each of them into one line and exit code 1; any other exception is a bug
of deeploc and keeps its traceback.
"""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class DeeplocError(Exception):
    """Base class of every error deeploc raises on purpose."""


class ContrastError(DeeplocError):
    """A contrast file or its stimuli are not usable."""


class AdapterError(DeeplocError):
    """A model cannot be loaded, read or written."""


class SiteError(AdapterError):
    """A place in a model cannot be read, whatever the stimuli are."""


class MaskError(DeeplocError):
    """A mask does not fit the model it is applied to."""


class TaskError(DeeplocError):
    """A task cannot be prepared or measured."""


class PluginError(DeeplocError):
    """No installed package offers a plugin of this name, or two do, or it cannot be imported."""


class RunError(DeeplocError):
    """A run folder cannot be read, written or continued."""


class HubError(DeeplocError):
    """The hub has no such place, refuses what is asked of it, or does not answer."""


class SweepError(DeeplocError):
    """A sweep file is not usable, or its workers cannot be started."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'? `` for the known name nearest to ``name``, or nothing.

    Parameters
    ----------
    name
        What was given.
    known
        What exists.

    Examples
    --------
    >>> nearest("negativ", ["negative", "positive"])
    "did you mean 'negative'? "
    """
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def wrong(title: str, returned: Any, right: str) -> PluginError:
    """Return the error for what somebody else's code returned.

    Parameters
    ----------
    title
        What messages call that code.
    returned
        What it returned.
    right
        What it must return.
    """
    return PluginError(f"{title} returned {described(returned)}; it must return {right}")


def described(value: Any) -> str:
    """Return a value in a few words: its type with its shape, or with itself where it is short.

    Parameters
    ----------
    value
        Any value.

    Examples
    --------
    >>> described([1, 2]), described("a"), described(None)
    ('list [1, 2]', "str 'a'", 'None')
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    if value is None:
        return "None"
    is_plain = isinstance(value, str | int | float | list | tuple | dict)
    return f"{type(value).__name__} {reprlib.repr(value)}" if is_plain else type(value).__name__
