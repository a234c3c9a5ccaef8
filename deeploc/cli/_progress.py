"""Messages and progress on stderr: a bar on a terminal, else one line per minute."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from deeploc.cli._console import print_paragraph, shorten, width

if TYPE_CHECKING:
    from deeploc.progress import OnProgress

LINE_EVERY = 60.0
"""Seconds between two lines where stderr is no terminal."""

_DRAW_EVERY = 0.1
"""Seconds between two drawings of a bar."""

_RECENT = 20
"""How many of the last updates the time left is told from: stored results come faster."""

_BAR = 8
"""Characters of a bar: most of the line says what is measured."""


class _Work:
    """Something with a number of steps, and what is known of its pace."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.now = label, total, 0, ""
        self.started = time.monotonic()
        self._recent = deque([(self.started, 0)], maxlen=_RECENT + 1)

    def advance(self, steps: int) -> None:
        self.done += steps
        self._recent.append((time.monotonic(), self.done))

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def left(self) -> str:
        """Return the time left at the pace of the last updates, empty if there is no pace."""
        (start, before), (end, done) = self._recent[0], self._recent[-1]
        if done == before or self.done >= self.total:
            return ""
        seconds = (end - start) * (self.total - self.done) / (done - before)
        return f"{duration(seconds)} left"

    @property
    def count(self) -> str:
        return f"{self.done:,} of {self.total:,}"


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
        self._work: _Work | None = None
        self._drawn = 0.0

    def note(self, text: str) -> None:
        """Print one line; on a terminal broken between words, above the bar."""
        if self._quiet:
            return
        if not _on_terminal():
            click.echo(text, err=True)
            return
        self._erase()
        print_paragraph(text, err=True)
        self._draw()

    def now(self, text: str) -> None:
        """Show what is being measured, beside the progress.

        Parameters
        ----------
        text
            A few words, e.g. the task, the mask and the dose.
        """
        if self._work:
            self._work.now = text
            self._draw_if_due()

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
        return self._bar(label, total) if _on_terminal() else self._lines(label, total)

    @contextmanager
    def _working(self, label: str, total: int) -> Iterator[_Work]:
        before, self._work = self._work, _Work(label, total)
        try:
            yield self._work
        finally:
            self._work = before

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator["OnProgress"]:
        with self._working(label, total) as work:

            def update(steps: int) -> None:
                work.advance(steps)
                self._draw_if_due()

            self._draw()
            try:
                yield update
            finally:
                self._erase()

    @contextmanager
    def _lines(self, label: str, total: int) -> Iterator["OnProgress"]:
        """Write steps done, total and time left, at most once per ``line_every`` seconds."""
        with self._working(label, total) as work:
            last = work.started

            def update(steps: int) -> None:
                nonlocal last
                work.advance(steps)
                if time.monotonic() - last >= self._line_every and work.done < total:
                    last = time.monotonic()
                    about = f"; {work.now}" if work.now else ""
                    left = f", about {work.left()}" if work.left() else ""
                    self.note(f"{label}: {work.count}{left}{about}")

            yield update
            if last > work.started:
                self.note(f"{label}: {work.count} in {duration(work.elapsed)}")

    def _draw_if_due(self) -> None:
        if time.monotonic() - self._drawn >= _DRAW_EVERY and _on_terminal():
            self._draw()

    def _draw(self) -> None:
        if self._work:
            self._drawn = time.monotonic()
            _write(f"\r{bar_line(self._work, width(80) - 1)}\033[K")

    def _erase(self) -> None:
        if self._work:
            _write("\r\033[K")


def bar_line(work: _Work, columns: int) -> str:
    """Return the progress on one line: label, bar, count, time left, what is being measured.

    Parameters
    ----------
    work
        What is being done.
    columns
        Most characters.
    """
    filled = _BAR if not work.total else min(_BAR * work.done // work.total, _BAR)
    full, empty = ("━", "╌") if _encodes("━╌") else ("#", "-")
    bar = full * filled + empty * (_BAR - filled)
    about = f"; {work.now}" if work.now else ""
    left = f", {work.left()}" if work.left() else ""
    text = f"{work.count}{left}{about}"
    if len(work.label) + len(bar) + len(work.count) + 2 > columns:
        return shorten(f"{work.label} {text}", columns)
    return shorten(f"{work.label} {bar} {text}", columns)


@contextmanager
def _nothing() -> Iterator["OnProgress"]:
    yield lambda _: None


def _on_terminal() -> bool:
    """Return whether stderr is a terminal whose lines can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _encodes(text: str) -> bool:
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


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
