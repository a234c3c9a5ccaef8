"""Every error deeploc raises on purpose.

* DeeplocError
  - ContrastError   a contrast file or its stimuli are not usable
  - AdapterError    a model cannot be loaded, read or written
    . SiteError     a place in it cannot be read, whatever the stimuli are
  - MaskError       a mask does not fit the model it is applied to
  - TaskError       a task cannot be prepared or measured
  - PluginError     no plugin of that name, or two, or a broken one
  - RunError        a run folder cannot be read, written or continued

The command line turns each of them into one line and exit code 1; any other exception is a bug
of deeploc and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


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
