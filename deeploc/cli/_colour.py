"""Colour on terminals only, and what the user's environment says about it.

``NO_COLOR`` and ``FORCE_COLOR`` are those of https://no-color.org and https://force-color.org: they
count if they are set and not empty, whatever they are set to, and ``NO_COLOR`` counts more.
"""

import os
from typing import IO, Any

import click

_OF_WORD = {
    "yes": "green",
    "ok": "green",
    "no": "red",
    "broken": "red",
    "problem:": "red",
    "partly": "yellow",
    "warning:": "yellow",
}
"""Colours of the words that answer; every other word has none. No meaning is in colour alone."""


def wanted() -> bool | None:
    """Return whether text is coloured; None: where it goes to a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def coloured(line: str, word: str) -> str:
    """Return a line with the first place of a word in its colour.

    Parameters
    ----------
    line
        A line, broken already: colours have no width.
    word
        An answer, e.g. ``yes`` or ``warning:``; others are left as they are.
    """
    colour = _OF_WORD.get(word)
    return line.replace(word, click.style(word, fg=colour), 1) if colour else line


class OneLineError(click.ClickException):
    """An error of deeploc, told in one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        head = click.style("Error:", fg="red")
        click.echo(f"{head} {self.format_message()}", file=file, err=file is None, color=wanted())
