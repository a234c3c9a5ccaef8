"""The stage that measures the difference between the sides of the contrast, for mode ``add``."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deeploc.analysis.difference import is_known
from deeploc.core.modes import adds
from deeploc.runs.files import safetensors_parts
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import Stage, remove


class DifferenceStage:
    """Measures the mean signed activation of the preferred side minus that of the other.

    The evaluation does not need it as stages need each other: what is added is in the key of every
    score, and runs from before this stage stay current.
    """

    name: ClassVar[str] = "difference"
    files: ClassVar[tuple[str, ...]] = ("difference.safetensors",)
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the activations and how they are compared."""
        return shared_inputs(run)

    def make(self, run: Run, save: Save) -> None:
        """Read the stimuli that localize, or take what is kept of them."""
        vectors = {"difference": run.measured_difference()}
        parts = safetensors_parts(vectors, run.layout.scalars())
        save({"difference.safetensors": parts}, {})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the difference."""
        remove(folder, DifferenceStage.files)


def difference_stages(run: Run, modes: Sequence[str]) -> list[Stage[Run]]:
    """Return this stage where one of the modes needs it and the statistics do not hold it.

    Parameters
    ----------
    run
        The run.
    modes
        The modes of ablation of an evaluation.
    """
    needed = any(map(adds, modes)) and not is_known(run.contrast, run.layout)
    return [DifferenceStage()] if needed else []
