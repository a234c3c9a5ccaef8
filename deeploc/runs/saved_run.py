"""A finished run as a script reads it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deeploc.core.advantage import Advantage, advantages
from deeploc.core.driving import DrivingStimuli
from deeploc.core.effects import Effect
from deeploc.core.examples import Examples
from deeploc.core.massive import MassiveActivations
from deeploc.core.resampling import Reliability
from deeploc.core.responses import Profile
from deeploc.core.results import Score
from deeploc.core.units import StatMap, UnitMask
from deeploc.core.untrained import Untrained
from deeploc.core.verdict import Network, Verdict
from deeploc.runs.control_masks import Units
from deeploc.runs.driving_file import load_driving
from deeploc.runs.examples_file import read_examples
from deeploc.runs.folder import RunFolder


@dataclass(frozen=True)
class SavedRun:
    """A finished run as a script reads it; each part is read on first use, and checked.

    Parameters
    ----------
    folder
        The run folder.
    """

    folder: RunFolder

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json as plain values."""
        return self.folder.read_plain_manifest()

    @cached_property
    def stat_map(self) -> StatMap:
        """The statistics of every unit."""
        return self.folder.read_stat_map()

    @cached_property
    def mask(self) -> UnitMask:
        """The selected units."""
        return self.folder.read_mask()

    @cached_property
    def scores(self) -> list[Score]:
        """The scores that are current; empty where the run was not evaluated."""
        return self.folder.read_scores()

    @cached_property
    def controls(self) -> dict[str, Units]:
        """The units of every control by its name, e.g. ``block/1/top/random-0``.

        Names are ``SITES/PERCENT/MASK/CONTROL``; units are numbered over the run's site table.
        """
        return self.folder.read_controls()

    @cached_property
    def effects(self) -> list[Effect]:
        """What the scores amount to, beside their controls."""
        return self.folder.read_effects()

    @cached_property
    def advantages(self) -> list[Advantage]:
        """What tasks on units amount to (mode ``read``), beside their controls."""
        record = self.folder.read_manifest().evaluate
        tasks = record.tasks.items() if record else ()
        return advantages(
            self.scores, {name: task.metrics for name, task in tasks if task.on_units}
        )

    @cached_property
    def profile(self) -> Profile | None:
        """The response profile."""
        return self.folder.read_profile()

    @cached_property
    def driving(self) -> DrivingStimuli | None:
        """The stimuli that drive the selected units most and least."""
        return load_driving(self.folder)

    @cached_property
    def reliability(self) -> Reliability | None:
        """What resampling the localizing stimuli says of the selection."""
        return self.folder.read_reliability()

    @cached_property
    def massive(self) -> MassiveActivations | None:
        """The massive activations of the model."""
        return self.folder.read_massive()

    @cached_property
    def untrained(self) -> Untrained | None:
        """What the same localizer selects in an untrained copy of the model."""
        return self.folder.read_untrained()

    @cached_property
    def verdict(self) -> Verdict | None:
        """The answers about the network at each kind of site."""
        return self.folder.read_verdict()

    @cached_property
    def examples(self) -> Examples | None:
        """What the model says to a few inputs, intact and edited."""
        return read_examples(self.folder)

    def network(self, kind: str) -> Network | None:
        """Return the answers about one kind of site, None where there are none.

        Parameters
        ----------
        kind
            The kind of site.
        """
        networks = self.verdict.networks if self.verdict else ()
        return next((network for network in networks if network.sites == kind), None)


def load_run(path: str | Path) -> SavedRun:
    """Return the run in a folder, for a script: mask, statistics, scores, profile, verdict.

    No model is loaded. What is not as deeploc wrote it is an error.

    Parameters
    ----------
    path
        The run folder.

    Raises
    ------
    RunError
        If the folder is no run.
    """
    run = SavedRun(RunFolder(Path(path)))
    run.folder.read_manifest()
    return run
