"""Stimuli, the records that they are made of, and their hashes."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeploc.errors import ContrastError, nearest


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """Properties of an image: its upright width and height in pixels, and its mean luminance.

    ``luminance`` runs from 0 (black) to 1 (white). It is the luma of Rec. ITU-R BT.601 (0.299 R +
    0.587 G + 0.114 B, what Pillow's ``convert("L")`` computes) of the stored pixels.
    """

    width: int
    height: int
    luminance: float


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One input: a text, or the path of an image.

    ``id`` names its origin: ``sentences.csv:17`` (a line of a file), ``a.parquet:17`` or
    ``owner/name/config/split:17`` (a row of a parquet file or of a data set of the hub, counted
    from 0), ``1b_story.txt`` (a whole file), ``texts:3`` (the fourth text written in the contrast),
    ``sentences:0`` (the first one generated) or ``car/1.jpg`` (an image below the folder of the
    contrast, or that of ``--stimuli``).
    ``sha256`` is that of an image's bytes when it was loaded, and ``properties`` those of the
    image then; a text has neither.
    """

    id: str
    content: str | Path
    sha256: str | None = field(default=None, compare=False, repr=False)
    properties: ImageProperties | None = field(default=None, compare=False, repr=False)

    @property
    def content_key(self) -> str:
        """A text, or the sha256 of an image: equal for equal stimuli, whatever their ids."""
        return self.sha256 or str(self.content)

    @property
    def title(self) -> str:
        """What a report prints: the text itself, or the id of an image."""
        return self.content if isinstance(self.content, str) else self.id


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, one JSON object, one line of text, one image file or generated item.

    ``folder`` is where relative paths in the fields of a table start.
    """

    id: str
    fields: Mapping[str, str]
    folder: Path | None = field(default=None, compare=False, repr=False)


def cell(row: Record, column: str) -> str:
    """Return the value of a row in a column.

    Parameters
    ----------
    row
        The record.
    column
        The name of the column.

    Raises
    ------
    ContrastError
        If there is no such column; names the nearest one.
    """
    if column not in row.fields:
        raise ContrastError(
            f"{row.id}: no column {column!r}; {nearest(column, row.fields)}"
            f"there are: {', '.join(row.fields)}"
        )
    return row.fields[column]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that were read of a source, before ``where`` and ``limit``.

    ``names`` are the labels that the data set declares: column -> the names of 0, 1, 2 …
    ``whole`` is false where only the first rows that are needed were read.
    """

    records: Sequence[Record]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    whole: bool = True


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(stimuli: Iterable[Stimulus]) -> str:
    """Return the sha256 of stimuli, in order: of the texts, or of the sha256 of the images."""
    digest = hashlib.sha256()
    for stimulus in stimuli:
        content = stimulus.content
        if isinstance(content, Path):
            data = bytes.fromhex(stimulus.sha256 or sha256_of(content))
        else:
            data = content.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
