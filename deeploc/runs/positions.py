"""The stage that reads a few stimuli at every position, for modes of ablation that need it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deeploc.analysis.massive import N_STIMULI
from deeploc.core.modes import NEED_MOMENTS
from deeploc.core.positions import ReadsPositions
from deeploc.runs.files import moments_parts
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import Stage, remove


class PositionsStage:
    """Measures mean and standard deviation of every unit at first and at later positions."""

    name: ClassVar[str] = "positions"
    files: ClassVar[tuple[str, ...]] = ("positions.safetensors",)
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the activations, and how many stimuli are read."""
        return {**shared_inputs(run), "n": N_STIMULI}

    def make(self, run: Run, save: Save) -> None:
        """Read them."""
        save({"positions.safetensors": moments_parts(run.measured_moments())}, {})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the moments."""
        remove(folder, PositionsStage.files)


def positions_stages(run: Run, modes: Sequence[str]) -> list[Stage[Run]]:
    """Return this stage where one of the modes needs it and the adapter can show positions.

    Parameters
    ----------
    run
        The run.
    modes
        The modes of ablation of an evaluation.
    """
    needed = isinstance(run.adapter, ReadsPositions) and bool({*modes} & {*NEED_MOMENTS})
    return [PositionsStage()] if needed else []
