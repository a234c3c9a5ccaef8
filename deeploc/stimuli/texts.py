"""Files of text: decoded, line by line, and as the stimuli of .txt files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.strict import decoded

Rows = Iterator[tuple[int, Mapping[str, str]]]
"""The number of each row, as messages and ids name it, and its cells."""


def text_of(path: Path) -> str:
    """Return the text of a UTF-8 file, with plain line breaks.

    Raises
    ------
    ContrastError
        If it cannot be read, or is in another encoding; names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContrastError(f"{path}: cannot be read: {error.strerror}") from None
    return decoded(raw, str(path)).replace("\r\n", "\n").replace("\r", "\n")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, of each line that is not blank, and the line."""
    # not splitlines(): that also breaks at form feeds and at U+2028, which texts may contain
    lines = text_of(path).split("\n")
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def by_line(path: Path) -> Rows:
    """Yield each line as a text."""
    for number, line in lines_of(path):
        yield number, {"text": line.strip()}


def by_file(path: Path) -> Rows:
    """Yield the whole file as one text, its line breaks and runs of spaces as single spaces."""
    if text := " ".join(text_of(path).split()):
        yield 1, {"text": text}


def labelled(path: Path) -> Rows:
    """Yield each line as a text and its label, divided by the last semicolon.

    Raises
    ------
    ContrastError
        If a line has no label; names it.
    """
    for number, line in lines_of(path):
        text, semicolon, label = line.rpartition(";")
        if not semicolon or not label.strip():
            raise ContrastError(
                f"{path}:{number}: no label; each line of a .txt file with labels is `text;label`"
            )
        yield number, {"text": text.strip(), "label": label.strip()}
