"""Messages and progress on stderr: a bar on a terminal, else one line per minute."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deeploc.progress import OnProgress

LINE_EVERY = 60.0
"""Seconds between two lines where stderr is no terminal."""


class Console:
    """The progress reporter of the command line.

    Parameters
    ----------
    quiet
        Whether nothing is reported.
    line_every
        Seconds between two lines of progress where stderr is a file.
    """

    def __init__(self, quiet: bool = False, line_every: float = LINE_EVERY) -> None:
        self._quiet = quiet
        self._line_every = line_every

    def note(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            click.echo(text, err=True)

    def progress(self, label: str, total: int) -> AbstractContextManager["OnProgress"]:
        """Show a bar where stderr is a terminal, else print one line per minute.

        Parameters
        ----------
        label
            The name of the work.
        total
            The number of steps.
        """
        if self._quiet:
            return _nothing()
        if sys.stderr.isatty():
            return _bar(label, total)
        return _lines(label, total, self._line_every, self.note)


@contextmanager
def _nothing() -> Iterator["OnProgress"]:
    yield lambda _: None


@contextmanager
def _bar(label: str, total: int) -> Iterator["OnProgress"]:
    from tqdm import tqdm

    with tqdm(total=total, desc=label, dynamic_ncols=True, leave=False) as bar:

        def update(steps: int) -> None:
            bar.update(steps)

        yield update


@contextmanager
def _lines(
    label: str, total: int, every: float, write: Callable[[str], None]
) -> Iterator["OnProgress"]:
    """Write steps done, total and time left, at most once per ``every`` seconds."""
    started = last = time.monotonic()
    done = 0

    def update(steps: int) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= every and done < total:
            last = now
            left = (now - started) * (total - done) / done
            write(f"{label}: {done:,} of {total:,}, about {duration(left)} left")

    yield update
    if last > started:
        write(f"{label}: {done:,} of {total:,} in {duration(time.monotonic() - started)}")


def duration(seconds: float) -> str:
    """Return a duration for reading.

    Parameters
    ----------
    seconds
        Its length.

    Examples
    --------
    >>> duration(7.4), duration(131), duration(7500)
    ('7 s', '2 min 11 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
