"""The stage that resamples the stimuli that localized: reliability."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deeploc.analysis.activation_cache import not_kept
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.reliability import N_FOLDS, reliability, unknown
from deeploc.core.permutation import N_PERMUTATIONS
from deeploc.core.readout import Readout
from deeploc.core.resampling import Reliability
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import rule_of, shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save


class ReliabilityStage:
    """Resamples the stimuli that localized: halves, folds, permuted labels."""

    name: ClassVar[str] = "reliability"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the statistics, the rule of selection, and how often it is applied.

        A model with other weights may have the same statistics of other activations.
        """
        rule = rule_of(run.contrast.select)
        size = {"folds": N_FOLDS, "permutations": N_PERMUTATIONS}
        return {**shared_inputs(run), "seed": run.setup.seed, "select": rule, "resampling": size}

    def make(self, run: Run, save: Save) -> None:
        """Resample the activations that localized, which are read again only in another process."""
        save({}, self._made(run).to_json())

    def _made(self, run: Run) -> Reliability:
        if (by := run.contrast.select.by) != "contrast":
            return unknown(run.stat_map, f"units are ranked by {by}, not by the statistic")
        stimuli, layout = run.stimuli.localizing, run.stat_map.layout
        groups = ByCondition.of(list(run.contrast.conditions), stimuli)
        readout = Readout.of(run.contrast.read)
        with run.reporter.progress("reading", len(groups.stimuli)) as on_progress:
            values = run.readings.matrix(
                groups.stimuli, run.layout, readout, on_progress=on_progress
            )
        if values is None:
            return unknown(run.stat_map, not_kept(len(groups.stimuli) * layout.n_units))
        with run.reporter.progress("resampling", layout.n_units) as on_progress:
            return reliability(
                run.contrast,
                run.stat_map,
                stimuli,
                values,
                seed=run.setup.seed,
                on_progress=on_progress,
            )

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""
