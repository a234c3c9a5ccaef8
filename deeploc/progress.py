"""Progress-reporting protocol."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

OnProgress = Callable[[int], None]
"""Called with the number of steps that were just completed."""


@runtime_checkable
class ProgressReporter(Protocol):
    """Receives messages and the progress of long work."""

    def note(self, text: str) -> None:
        """Receive one line."""
        ...

    def progress(self, label: str, total: int) -> AbstractContextManager[OnProgress]:
        """Follow long work; the function is called with the number of steps just completed.

        Parameters
        ----------
        label
            What is being done.
        total
            How many steps it takes.
        """
        ...


@runtime_checkable
class ShowsWork(Protocol):
    """An optional ability of reporters: they show what is being measured, beside the progress."""

    def now(self, text: str) -> None:
        """Receive what is being measured, in a few words.

        Parameters
        ----------
        text
            E.g. the tasks, the mask and the dose.
        """
        ...


def tell(reporter: ProgressReporter, text: str) -> None:
    """Tell a reporter what is being measured, if it shows that.

    Parameters
    ----------
    reporter
        Who follows the work.
    text
        A few words.
    """
    if isinstance(reporter, ShowsWork):
        reporter.now(text)


def ignore_progress(_: int) -> None:
    """Ignore progress."""


class SilentReporter:
    """A progress reporter that reports nothing."""

    def note(self, text: str) -> None:
        """Ignore a message."""

    def progress(
        self,
        label: str,  # noqa: ARG002
        total: int,  # noqa: ARG002
    ) -> AbstractContextManager[OnProgress]:
        """Ignore progress, see `ProgressReporter`."""
        return nullcontext(ignore_progress)
