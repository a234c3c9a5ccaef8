"""What is shown to a model, and the row it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One input: a text, or the path of an image.

    ``id`` leads back to where it stands: ``sentences.csv:17`` (a line of a file), ``texts:3``
    (the fourth text written in the contrast) or ``sentences:0`` (the first one generated).
    """

    id: str
    content: str | Path


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, one JSON object, one line of text or one generated item."""

    id: str
    fields: Mapping[str, str]
