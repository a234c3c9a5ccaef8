"""What the commands print on stdout: tables, columns, JSON."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from deeploc.core.examples import Guess

Value = TypeVar("Value")


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
    """Print a table that fits the terminal, or 80 columns where there is none.

    Parameters
    ----------
    head
        The headings of the columns.
    rows
        A text per column. A row of one text is a subheading, and does not widen its column.
    n_numeric
        How many columns, counted from the last, are aligned to the right.
    """
    from deeploc.cli._table import table_lines

    for line in table_lines(head, rows, n_numeric, width(80)):
        click.echo(line)


def print_columns(texts: dict[str, str]) -> None:
    """Print named texts side by side, as wide as the terminal allows, or below each other."""
    _print_named(texts, _wrapped)


def print_guesses(guesses: "Mapping[str, Sequence[Guess]]") -> None:
    """Print named lists of guesses, as `print_columns` does; long labels are cut off."""

    def lines(best: "Sequence[Guess]", width: int) -> list[str]:
        broken = _wrapped("no class: the logits are not finite", width)
        return [_guess(guess, width) for guess in best] or broken

    _print_named(guesses, lines)


def _guess(guess: "Guess", width: int) -> str:
    line = f"{guess.probability:6.1%}  {guess.label}"
    return line if len(line) <= width else f"{line[: width - 1]}…"


def width(without: int = 100) -> int:
    """Return how many characters a line of the terminal holds; ``without`` where there is none."""
    import shutil

    return shutil.get_terminal_size((without, 24)).columns or without


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


def print_paragraph(text: str, indent: int = 0, *, err: bool = False) -> None:
    """Print text, broken between words at 80 columns or where the terminal ends.

    Addresses stay whole.

    Parameters
    ----------
    text
        One or more lines, each of which is broken separately.
    indent
        Spaces before every line.
    err
        Whether it is printed on stderr.
    """
    import textwrap

    from deeploc.cli._colour import coloured

    margin = " " * indent
    for line in text.strip().splitlines():
        broken = textwrap.fill(
            line,
            min(width(), 80),
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        first, _, _ = line.partition(" ")
        click.echo(coloured(broken, first) if first.endswith(":") else broken, err=err)


_NARROWEST = 20
"""Fewest characters of a column: narrower ones are printed below each other."""


def _print_named(values: Mapping[str, Value], lines: Callable[[Value, int], list[str]]) -> None:
    """Print named values in columns, or below each other where columns would be too narrow."""
    line = width(80)
    beside = line // len(values) - 2
    if beside >= _NARROWEST:
        _print_beside({name: lines(value, beside) for name, value in values.items()}, beside)
        return
    for name, value in values.items():
        rows = [*_wrapped(name, line), *(f"  {row}" for row in lines(value, line - 2))]
        click.echo("\n".join(row.rstrip() for row in rows))


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
