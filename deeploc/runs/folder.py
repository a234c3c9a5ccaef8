"""The run folder: which files it has, and how they come and go."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc.atomic import write, write_json
from deeploc.contrast.comparison import Comparison, parse_comparison
from deeploc.core.responses import Profile
from deeploc.core.results import Better, Effect, Score, effects, from_csv, to_csv
from deeploc.errors import RunError

SCHEMA = 1

_NO_SIDES = Comparison((), ())

_SAVE_EVERY = 2.0
"""Seconds between two savings of scores.csv: the most work that a killed run can lose."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What was run, on what, with which versions; written last."""
        return self.path / "manifest.json"

    @property
    def statmap(self) -> Path:
        """Statistics of every unit."""
        return self.path / "statmap.safetensors"

    @property
    def mask(self) -> Path:
        """The selected units."""
        return self.path / "mask.safetensors"

    @property
    def units(self) -> Path:
        """The selected units as a table."""
        return self.path / "units.csv"

    @property
    def scores(self) -> Path:
        """Task scores, intact and ablated."""
        return self.path / "scores.csv"

    @property
    def profile(self) -> Path:
        """The responses of the selected units to every condition."""
        return self.path / "profile.csv"

    @property
    def report(self) -> Path:
        """One self-contained HTML file."""
        return self.path / "report.html"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file a run may have, the manifest first."""
        return (
            self.manifest,
            self.statmap,
            self.mask,
            self.units,
            self.scores,
            self.profile,
            self.report,
        )

    def claim(self) -> bool:
        """Make sure the folder can be written to; return whether it had to be made.

        Raises
        ------
        RunError
            If it cannot be made or written, or holds files that are not a run's.
        """
        new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".deeploc.part"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RunError(
                f"cannot write to the run folder {self.path}: {error.strerror}; "
                "choose another with -o"
            ) from error
        known = {file.name for file in self.files}
        files = [file for file in self.path.iterdir() if file.suffix != ".part"]
        foreign = [file.name for file in files if file.name not in known]
        if foreign and not self.manifest.exists():
            raise RunError(
                f"{self.path} holds other files ({sorted(foreign)[0]}) and no run; "
                "choose an empty or new folder with -o"
            )
        return new

    def abandon(self) -> None:
        """Remove the folder again if nothing was written into it."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def clear(self) -> None:
        """Remove the files of a former run, its manifest first."""
        for file in self.files:
            file.unlink(missing_ok=True)

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises
        ------
        RunError
            If the folder is no run, or its manifest is broken or from a later deeploc.
        """
        try:
            manifest = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                f"{self.path} is no run: it has no manifest.json; "
                "`deeploc localize CONTRAST -m MODEL -o RUN` makes one"
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.manifest} cannot be read: {error}; run again") from error
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise RunError(f"{self.manifest} is not of schema {SCHEMA}; use the deeploc it names")
        return manifest

    def read_scores(self) -> list[Score]:
        """Return the scores of the tasks in the manifest; none if the run was not evaluated.

        Raises
        ------
        RunError
            If the manifest or scores.csv cannot be read.
        """
        tasks = _tasks(self.read_manifest())
        try:
            rows = from_csv(self.scores.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.scores} is broken: {error}; delete it and evaluate again"
            ) from error
        return [row for row in rows if row.task in tasks]

    def read_effects(self) -> list[Effect]:
        """Return what the scores amount to, one effect per metric, condition and ablation."""
        return effects(self.read_scores(), self.better())

    def read_profile(self) -> Profile | None:
        """Return the response profile, or None where the manifest tells of none.

        Raises
        ------
        RunError
            If the manifest or profile.csv cannot be read.
        """
        told = self.read_manifest().get("profile")
        if not told:
            return None
        try:
            return Profile.restored(told, self.profile.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.profile} is broken: {error}; delete it and localize again"
            ) from error

    def read_comparison(self) -> Comparison:
        """Return which conditions the contrast prefers to which; no sides where none is told.

        Raises
        ------
        RunError
            If the manifest cannot be read, or compares what is no condition of it.
        """
        manifest = self.read_manifest()
        said = (manifest.get("contrast") or {}).get("contrast")
        try:
            return parse_comparison(said, manifest.get("stimuli") or ()) if said else _NO_SIDES
        except ValueError as error:
            raise RunError(f"{self.manifest} is broken: {error}; run again") from error

    def better(self) -> dict[str, dict[str, Better]]:
        """Return task → metric → which direction is good, the main metric of each task first."""
        return {name: task["metrics"] for name, task in _tasks(self.read_manifest()).items()}

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, whole or not at all."""
        write_json(self.manifest, manifest)


class Saving:
    """Saves scores.csv now and then, and when the work ends, however it ends."""

    def __init__(self, folder: RunFolder, scores: Sequence[Score]) -> None:
        self._folder = folder
        self._scores = list(scores)
        self._saved = time.monotonic()

    def __enter__(self) -> Callable[[list[Score]], None]:
        return self._add

    def __exit__(self, *_: object) -> None:
        self._save()

    def _add(self, scores: list[Score]) -> None:
        self._scores += scores
        if scores and time.monotonic() - self._saved > _SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        write(self._folder.scores, to_csv(self._scores))
        self._saved = time.monotonic()


def _tasks(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    tasks: Mapping[str, Any] = (manifest.get("evaluate") or {}).get("tasks") or {}
    return tasks
