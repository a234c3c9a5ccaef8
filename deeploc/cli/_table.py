"""Tables that fit a line: wide texts are broken, and what still does not fit goes below."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

_GAP = 2
_NARROWEST = 16
"""Characters to which a column of texts may be narrowed."""

Rows = Sequence[Sequence[str]]


def table_lines(head: Sequence[str], rows: Rows, n_numeric: int, width: int) -> Iterator[str]:
    """Yield the lines of a table.

    Columns are as wide as their texts, if the line holds them. Else the widest ones are narrowed
    and their texts broken between words; numbers stay whole. If that is not enough, columns are
    printed in blocks below each other, each with the first column.

    Parameters
    ----------
    head
        The headings of the columns.
    rows
        A text per column. A row of one text is a subheading, and does not widen its column.
    n_numeric
        How many columns, counted from the last, are aligned to the right.
    width
        Characters of a line.
    """
    n, first_numeric = len(head), len(head) - n_numeric
    full = [row for row in (head, *rows) if len(row) == n]
    natural = [max(len(row[i]) for row in full) for i in range(n)]
    floors = [
        max([_longest_word(full[0][i]), *(len(row[i]) for row in full[1:])])
        if i >= first_numeric
        else min(natural[i], _NARROWEST)
        for i in range(n)
    ]
    for number, columns in enumerate(_blocks(floors, width)):
        if number:
            yield ""
        widths = _narrowed([natural[i] for i in columns], [floors[i] for i in columns], width)
        right = [i >= first_numeric for i in columns]
        for row in (head, *rows):
            cells = [row[i] for i in columns] if len(row) == n else row
            yield from _row(cells, widths, right, width)


def _blocks(floors: Sequence[int], width: int) -> Iterator[list[int]]:
    """Yield the columns that stand side by side; the first of all is in every block."""
    block = [0]
    for column in range(1, len(floors)):
        needed = sum(floors[i] + _GAP for i in block) + floors[column]
        if needed > width and len(block) > 1:
            yield block
            block = [0]
        block = [*block, column]
    yield block


def _narrowed(natural: Sequence[int], floors: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns, the widest ones narrowed until all fit."""
    widths = list(natural)
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wide = [i for i in range(len(widths)) if widths[i] > floors[i]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _row(
    cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], width: int
) -> Iterator[str]:
    if len(cells) < len(widths):
        yield from _broken(cells[0], width)
        return
    columns = [_broken(cell, w) for cell, w in zip(cells, widths, strict=True)]
    for line in zip_longest(*columns, fillvalue=""):
        parts = [
            text.rjust(w) if is_right else text.ljust(w)
            for text, w, is_right in zip(line, widths, right, strict=True)
        ]
        yield (" " * _GAP).join(parts).rstrip()


def _broken(text: str, width: int) -> list[str]:
    """Return the lines of a text, those after the first indented as the first is."""
    if len(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    further = indent if len(indent) < width // 2 else ""
    return textwrap.wrap(text, width, subsequent_indent=further, break_on_hyphens=False)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)
