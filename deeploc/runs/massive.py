"""The stage that looks for massive activations."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deeploc.analysis.massive import N_STIMULI, massive_activations
from deeploc.analysis.reading import ByCondition
from deeploc.core.readout import Readout
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save


class MassiveStage:
    """Records which units are orders of magnitude larger than the others at their site."""

    name: ClassVar[str] = "massive"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the activations, and how many stimuli are read."""
        return {**shared_inputs(run), "n": N_STIMULI}

    def make(self, run: Run, save: Save) -> None:
        """Read a few stimuli at every position."""
        groups = ByCondition.of(list(run.contrast.conditions), run.stimuli.localizing)
        n = min(N_STIMULI, len(groups.stimuli))
        with run.reporter.progress("reading positions", n) as on_progress:
            massive = massive_activations(
                run.adapter,
                groups.stimuli,
                run.layout,
                Readout.of(run.contrast.read),
                on_progress=on_progress,
            )
        save({}, massive.to_json())

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""
