"""What the commands print on stdout: tables, columns, JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deeploc.analysis.demonstration import Guess


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; inf and nan, which JSON lacks, become strings."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], n_numeric: int = 0) -> None:
    """Print a table.

    Parameters
    ----------
    head
        The headings of the columns.
    rows
        A text per column. A row of one text is a subheading, and does not widen its column.
    n_numeric
        How many columns, counted from the last, are aligned to the right.
    """
    full = [row for row in (head, *rows) if len(row) == len(head)]
    widths = [max(len(row[i]) for row in full) for i in range(len(head))]
    first = len(head) - n_numeric
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if i >= first else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        click.echo("  ".join(cells).rstrip())


def print_columns(texts: dict[str, str]) -> None:
    """Print named texts side by side, as wide as the terminal allows."""
    width = _column_width(len(texts))
    _print_beside({name: _wrapped(text, width) for name, text in texts.items()}, width)


def print_guesses(guesses: "Mapping[str, Sequence[Guess]]") -> None:
    """Print named lists of guesses side by side; labels are cut off where the terminal ends."""
    width = _column_width(len(guesses))
    broken = _wrapped("no class: the logits are not finite", width)
    columns = {name: [_guess(g, width) for g in best] or broken for name, best in guesses.items()}
    _print_beside(columns, width)


def _guess(guess: "Guess", width: int) -> str:
    line = f"{guess.probability:6.1%}  {guess.label}"
    return line if len(line) <= width else f"{line[: width - 1]}…"


def width() -> int:
    """Return how many characters a line of the terminal holds; 100 where there is none."""
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def shorten(text: str, width: int) -> str:
    """Return a text on one line, cut off with an ellipsis.

    Parameters
    ----------
    text
        Any text; white space becomes single spaces.
    width
        Most characters; at least 2 are returned where the text is longer.
    """
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: max(width - 1, 1)]}…"


def print_paragraph(text: str, indent: int = 0) -> None:
    """Print text, broken between words at 80 columns or where the terminal ends.

    Addresses stay whole.

    Parameters
    ----------
    text
        One or more lines, each of which is broken separately.
    indent
        Spaces before every line.
    """
    import textwrap

    margin = " " * indent
    for line in text.strip().splitlines():
        click.echo(
            textwrap.fill(
                line,
                min(width(), 80),
                initial_indent=margin,
                subsequent_indent=margin,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )


def _column_width(n: int) -> int:
    return width() // n - 2


def _print_beside(columns: Mapping[str, Sequence[str]], width: int) -> None:
    """Print columns of lines that fit ``width``, each below its name."""
    heads = [_wrapped(name, width) for name in columns]
    parts: list[Iterable[Sequence[str]]] = [heads, [["─" * width]] * len(heads), columns.values()]
    for part in parts:
        for row in zip_longest(*part, fillvalue=""):
            click.echo("  ".join(cell.ljust(width) for cell in row).rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    lines = text.strip().splitlines()
    return [piece for line in lines for piece in textwrap.wrap(line, width) or [""]]
