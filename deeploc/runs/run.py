"""A run with its model loaded: what the stages of an experiment work on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from deeploc.analysis.activation_cache import Readings
from deeploc.analysis.difference import is_known, mean_difference, read_difference
from deeploc.analysis.group_means import GroupMeans, read_group_means
from deeploc.analysis.localization import layout_of
from deeploc.analysis.position_activations import ClassMoments, read_donors, read_moments
from deeploc.analysis.reading import ByCondition
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.modes import Modes
from deeploc.core.position_classes import PositionMoments
from deeploc.core.positions import ReadsPositions
from deeploc.core.replacing import Donors
from deeploc.core.units import Layout, StatMap, UnitMask, Vector
from deeploc.progress import ProgressReporter, SilentReporter
from deeploc.runs.files import load_difference, load_mask, load_moments, load_statmap
from deeploc.runs.folder import RunFolder
from deeploc.runs.ranking_file import RANKING, load_ranking
from deeploc.runs.setup import Setup
from deeploc.stimuli import StimulusSets


@dataclass(frozen=True)
class Run:
    """A run with its model loaded.

    Results are read from the folder, also right after they were written, so that a run that was
    interrupted goes on with the very numbers that it would have had.

    Parameters
    ----------
    folder
        Where its files are.
    contrast
        What is compared.
    setup
        What it is made from, apart from the contrast.
    adapter
        The model.
    stimuli
        The stimuli that localize and those that evaluate.
    header
        What the manifest says beside the stages.
    reporter
        Who receives messages and progress.
    """

    folder: RunFolder
    contrast: Contrast
    setup: Setup
    adapter: Adapter
    stimuli: StimulusSets
    header: Mapping[str, Any]
    reporter: ProgressReporter = field(default_factory=SilentReporter)

    @cached_property
    def layout(self) -> Layout:
        """The sites that the contrast reads."""
        return layout_of(self.adapter, self.contrast)

    @cached_property
    def statistics(self) -> StatMap:
        """The statistics of every unit, once they are localized."""
        return load_statmap(self.folder.statmap)

    @cached_property
    def stat_map(self) -> StatMap:
        """The statistics of every unit with what units are ranked by, once they are ranked."""
        by = self.contrast.select.by
        if by == "contrast":
            return self.statistics
        return load_ranking(self.folder.path / RANKING, self.statistics, by)

    @cached_property
    def mask(self) -> UnitMask:
        """The selected units, once they are selected."""
        return load_mask(self.folder.mask)

    @cached_property
    def group_means(self) -> GroupMeans:
        """The response of groups of units to every held-out stimulus, read when it is needed."""
        counts = {name: len(stimuli) for name, stimuli in self.stimuli.localizing.items()}
        n = sum(map(len, self.stimuli.held_out.values()))
        with self.reporter.progress("profiling", n) as on_progress:
            return read_group_means(
                *(self.adapter, self.contrast, self.stat_map, self.mask, self.stimuli.held_out),
                counts=counts,
                seed=self.setup.seed,
                readings=self.readings,
                on_progress=on_progress,
            )

    @cached_property
    def modes(self) -> Modes:
        """What the modes of ablation put in place, read when it is needed."""
        reads = isinstance(self.adapter, ReadsPositions)
        moments = (lambda: self.moments) if reads else None
        donors = (lambda: self.donors) if reads else None
        return Modes(self.stat_map, moments, donors, self.setup.seed, lambda: self.difference)

    @cached_property
    def moments(self) -> PositionMoments:
        """Moments by class of position: those of the folder, else read now."""
        if self.folder.read_manifest().positions is not None:
            file = self.folder.path / "positions.safetensors"
            return load_moments(self.folder.checked("positions", file))
        return self.measured_moments()

    @cached_property
    def class_moments(self) -> ClassMoments:
        """What else takes the activations that are read to look for massive ones."""
        return ClassMoments(self.layout, self.contrast.read.pool)

    def measured_moments(self) -> PositionMoments:
        """Return moments by class of position, without the folder; read once in a process."""
        if self.class_moments.n_stimuli:
            return self.class_moments.moments(self.statistics)
        return read_moments(self.adapter, self.contrast, self.stimuli.localizing, self.statistics)

    @cached_property
    def difference(self) -> Vector:
        """What mode ``add`` adds, per scalar: that of the folder, else measured now."""
        if self.folder.read_manifest().difference is not None:
            file = self.folder.path / "difference.safetensors"
            return load_difference(self.folder.checked("difference", file))
        return self.measured_difference()

    def measured_difference(self) -> Vector:
        """Return the difference between the sides of the contrast, without the folder's file."""
        contrast, localizing = self.contrast, self.stimuli.localizing
        if is_known(contrast, self.layout):
            return mean_difference(contrast, self.stat_map.means, localizing)
        n = sum(map(len, localizing.values()))
        with self.reporter.progress("reading signed activations", n) as on_progress:
            return read_difference(
                contrast, localizing, self.layout.scalars(), self.readings, on_progress=on_progress
            )

    @cached_property
    def donors(self) -> Donors:
        """Stimuli of the control condition at every position, read now."""
        return read_donors(self.adapter, self.contrast, self.stimuli.localizing)

    @cached_property
    def readings(self) -> Readings:
        """Activations of the intact model, each stimulus read once."""
        conditions = list(self.contrast.conditions)
        halves = [self.stimuli.localizing, self.stimuli.held_out]
        return Readings(self.adapter, [ByCondition.of(conditions, half).stimuli for half in halves])


@dataclass(frozen=True)
class UnloadedRun:
    """A run without its model: enough for the verdict and the report.

    Parameters
    ----------
    folder, reporter, header
        As for `Run`.
    """

    folder: RunFolder
    reporter: ProgressReporter
    header: Mapping[str, Any]
