"""The folder of a dissociation: its files, and the scores that survive an interruption."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from deeploc import atomic
from deeploc.core.results import Score, from_csv, to_csv
from deeploc.errors import RunError

FILES = ("dissociation.json", "scores.csv", "dissociation.html")
"""Every file that deeploc writes there."""

_SAVE_EVERY = 2.0
"""Seconds between two savings of scores.csv: the most work that a killed command can lose."""


class OwnedScore(NamedTuple):
    """A score of a dissociation, where masks and tasks of two contrasts have the same names.

    Parameters
    ----------
    mask_of
        The name of the contrast whose mask, or a control of it, was ablated; ``none``: none was.
    task_of
        The name of the contrast whose task it is.
    score
        The score.
    """

    mask_of: str
    task_of: str
    score: Score

    @property
    def identity(self) -> tuple[str, ...]:
        """What was measured under which ablation, whatever it is called."""
        score = self.score
        return score.task_key, score.metric, score.condition, score.key, self.mask_of


@dataclass
class DissociationFolder:
    """The folder of a dissociation.

    Parameters
    ----------
    path
        The folder.
    """

    path: Path
    _earlier: list[OwnedScore] = field(default_factory=list)
    _rows: list[OwnedScore] = field(default_factory=list)
    _saved: float = field(default_factory=time.monotonic)

    @property
    def result(self) -> Path:
        """The numbers, with their rule."""
        return self.path / "dissociation.json"

    @property
    def scores(self) -> Path:
        """What was measured: whose mask, whose task, then the columns of scores.csv of a run."""
        return self.path / "scores.csv"

    @property
    def page(self) -> Path:
        """One self-contained HTML file."""
        return self.path / "dissociation.html"

    def read_scores(self) -> list[Score]:
        """Return the scores that were measured before; they are kept until `save` is complete.

        Raises
        ------
        RunError
            If the table cannot be read.
        """
        try:
            self._earlier = _parse(self.scores.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._earlier = []
        except (OSError, ValueError, csv.Error) as error:
            raise RunError(f"{self.scores} is broken: {error}; delete it and repeat") from error
        return [row.score for row in self._earlier]

    def add(self, row: OwnedScore) -> None:
        """Take a score; what was taken is saved every two seconds."""
        self._rows.append(row)
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save(complete=False)

    def save(self, *, complete: bool) -> None:
        """Write scores.csv.

        Parameters
        ----------
        complete
            Whether nothing more is measured: earlier scores that were not taken are left out.
        """
        taken = {row.identity for row in self._rows}
        kept = [] if complete else [row for row in self._earlier if row.identity not in taken]
        atomic.write(self.scores, _format([*self._rows, *kept]))
        self._saved = time.monotonic()


def _format(rows: Sequence[OwnedScore]) -> str:
    plain = csv.reader(io.StringIO(to_csv(row.score for row in rows)))
    owners = [OwnedScore._fields[:2], *((row.mask_of, row.task_of) for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([*owner, *line] for owner, line in zip(owners, plain, strict=True))
    return text.getvalue()


def _parse(text: str) -> list[OwnedScore]:
    table = list(csv.reader(io.StringIO(text)))
    if any(len(line) < 2 for line in table):
        raise ValueError(f"its first columns are not {', '.join(OwnedScore._fields[:2])}")
    plain = io.StringIO()
    csv.writer(plain).writerows(line[2:] for line in table)
    scores = from_csv(plain.getvalue())
    owners = ((line[0], line[1]) for line in table[1:])
    return [OwnedScore(*owner, score) for owner, score in zip(owners, scores, strict=True)]
