"""The run folder: the paths of its files, and reading what is current in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc import atomic
from deeploc.contrast.comparison import Comparison
from deeploc.core.effects import Effect, effects
from deeploc.core.massive import MassiveActivations
from deeploc.core.resampling import Reliability
from deeploc.core.responses import Profile
from deeploc.core.results import Better, Score
from deeploc.core.units import StatMap, UnitMask
from deeploc.core.untrained import Untrained
from deeploc.core.verdict import Verdict
from deeploc.errors import RunError
from deeploc.runs.control_masks import Units, load_controls
from deeploc.runs.files import hash_of, load_mask, load_statmap
from deeploc.runs.manifest import Manifest, parse_manifest
from deeploc.runs.ranking_file import RANKING, load_ranking
from deeploc.runs.records import StageRecord
from deeploc.runs.score_rows import current_rows, read_rows


class _File:
    """The path of a file of a run folder, as an attribute of the folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: "RunFolder", _: type) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """A run folder: the paths of its files, and what they say.

    What is read is checked first: a file counts only if the manifest records it, with the hash of
    its bytes, for a stage that is complete.

    Parameters
    ----------
    path
        The folder.
    """

    path: Path

    manifest = _File("manifest.json")
    """What was run, on what, with which versions, and a record of every stage."""

    statmap = _File("statmap.safetensors")
    """Statistics of every unit."""

    mask = _File("mask.safetensors")
    """The selected units."""

    units = _File("units.csv")
    """The selected units as a table."""

    scores = _File("scores.csv")
    """Scores of the tasks, intact and ablated; only those that are current."""

    controls = _File("controls.safetensors")
    """The units of every control."""

    superseded = _File("scores-superseded.csv")
    """Scores that were measured for another selection or other items; kept, never shown."""

    verdict = _File("verdict.json")
    """The answers of `deeploc.core.verdict`."""

    profile = _File("profile.csv")
    """The responses of the selected units to every condition."""

    report = _File("report.html")
    """One self-contained HTML file."""

    def exists(self) -> bool:
        """Return whether there is a manifest."""
        return self.manifest.is_file()

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises
        ------
        RunError
            If the folder is no run, or its manifest is damaged or of another format.
        """
        return parse_manifest(self._manifest_text(), str(self.manifest))[0]

    def read_plain_manifest(self) -> dict[str, Any]:
        """Return the manifest as plain JSON, after the same checks.

        Raises
        ------
        RunError
            As `read_manifest`.
        """
        return parse_manifest(self._manifest_text(), str(self.manifest))[1]

    def _manifest_text(self) -> str:
        try:
            return self.manifest.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                f"{self.path} is no run: it has no manifest.json; "
                "`deeploc localize CONTRAST -m MODEL -o RUN` makes one"
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.manifest} cannot be read: {error}; run again") from error

    def is_intact(self, record: StageRecord) -> bool:
        """Return whether the files of a stage are those that it recorded, byte for byte."""
        return all(hash_of(self.path / name) == known for name, known in record.files.items())

    def checked(self, stage: str, file: Path) -> Path:
        """Return ``file`` if it is what ``stage`` recorded.

        Parameters
        ----------
        stage
            The stage that owns the file.
        file
            One of the files of this run.

        Raises
        ------
        RunError
            If the stage is not complete, or the file is missing or was changed.
        """
        record = self.read_manifest().record(stage)
        known = record.files.get(file.name) if record and record.complete else None
        if known is None:
            raise RunError(
                f"{self.path} has no complete stage {stage!r}; run the command that made the "
                "folder again"
            )
        if hash_of(file) != known:
            raise RunError(
                f"{file} is missing or not as {stage!r} wrote it; run the command that made the "
                "folder again"
            )
        return file

    def read_stat_map(self) -> StatMap:
        """Return the statistics of every unit, with what the units are ranked by.

        Raises
        ------
        RunError
            If they are not there, or not as they were written.
        """
        stat_map = load_statmap(self.checked("localize", self.statmap))
        by = self.read_manifest().ranked_by
        if by == "contrast":
            return stat_map
        return load_ranking(self.checked("ranking", self.path / RANKING), stat_map, by)

    def read_mask(self) -> UnitMask:
        """Return the selected units.

        Raises
        ------
        RunError
            If they are not there, or not as they were written.
        """
        return load_mask(self.checked("select", self.mask))

    def read_scores(self) -> list[Score]:
        """Return the scores that are current; none if the run was not evaluated.

        Raises
        ------
        RunError
            If the manifest or scores.csv cannot be read.
        """
        record = self.read_manifest().evaluate
        if record is None:
            return []
        if record.complete:
            self.checked("evaluate", self.scores)
        return current_rows(record, read_rows(self.scores))

    def read_controls(self) -> dict[str, Units]:
        """Return the units of every control by ``SITES/PERCENT/MASK/CONTROL``, none without scores.

        Raises
        ------
        RunError
            If the manifest or controls.safetensors cannot be read.
        """
        record = self.read_manifest().evaluate
        if record is None or self.controls.name not in record.files:
            return {}
        return load_controls(self.checked("evaluate", self.controls))

    def read_effects(self) -> list[Effect]:
        """Return what the scores amount to, one effect per metric, condition and ablation."""
        better = self.better()
        known = [row for row in self.read_scores() if row.metric in better.get(row.task, {})]
        return effects(known, better)

    def read_profile(self) -> Profile | None:
        """Return the response profile, None where there is none.

        Raises
        ------
        RunError
            If the manifest or profile.csv cannot be read.
        """
        record = self.read_manifest().profile
        if record is None:
            return None
        table = self.checked("profile", self.profile)
        try:
            tests = [test.model_dump() for test in record.effects]
            recorded = {"held_out": record.held_out, "effects": tests}
            return Profile.from_json(recorded, table.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.profile} is broken: {error}; delete it and localize again"
            ) from error

    def read_reliability(self) -> Reliability | None:
        """Return what resampling the stimuli says of the localization, None where it was not done.

        Raises
        ------
        RunError
            If the manifest cannot be read.
        """
        record = self.read_manifest().reliability
        return None if record is None else Reliability.from_json(record.model_dump())

    def read_massive(self) -> MassiveActivations | None:
        """Return the massive activations of the model, None where nobody looked for them.

        Raises
        ------
        RunError
            If the manifest cannot be read.
        """
        record = self.read_manifest().massive
        return None if record is None else MassiveActivations.from_json(record.model_dump())

    def read_untrained(self) -> Untrained | None:
        """Return what is selected in an untrained copy of the model, None where it was not asked.

        Raises
        ------
        RunError
            If the manifest cannot be read.
        """
        record = self.read_manifest().untrained
        return None if record is None else Untrained.from_json(record.model_dump())

    def read_verdict(self) -> Verdict | None:
        """Return the verdict, None where there is none.

        Raises
        ------
        RunError
            If the manifest or verdict.json cannot be read.
        """
        record = self.read_manifest().verdict
        if record is None:
            return None
        file = self.checked("verdict", self.verdict)
        try:
            return Verdict.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.verdict} is broken: {error}; `deeploc report` writes it again"
            ) from error

    def read_comparison(self) -> Comparison:
        """Return which conditions the contrast prefers to which.

        Raises
        ------
        RunError
            If the manifest cannot be read or holds no valid contrast.
        """
        return self.read_manifest().resolved_contrast(str(self.manifest)).comparison

    def better(self) -> dict[str, dict[str, Better]]:
        """Return task -> metric -> which direction is good, main ones first; no tasks on units."""
        record = self.read_manifest().evaluate
        tasks = record.tasks.items() if record else ()
        return {name: task.metrics for name, task in tasks if not task.on_units}

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, whole or not at all."""
        atomic.write_json(self.manifest, manifest)
