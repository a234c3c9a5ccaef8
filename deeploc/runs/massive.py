"""The stage that looks for massive activations."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from deeploc.analysis.massive import N_STIMULI, massive_activations
from deeploc.analysis.reading import ByCondition
from deeploc.core.massive import MassiveActivations
from deeploc.core.modes import NEED_MOMENTS
from deeploc.core.readout import Readout
from deeploc.core.units import UnitMask
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save


class MassiveStage:
    """Records which units are orders of magnitude larger than the others at their site."""

    name: ClassVar[str] = "massive"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("select",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the activations before they are pooled, and how many are read."""
        shared, read = shared_inputs(run), run.contrast.read
        return {
            **{key: shared[key] for key in ("model", "stimuli")},
            "sites": list(read.sites),
            "max_tokens": read.max_tokens,
            "each position is a unit": read.pool == "none",
            "n": N_STIMULI,
        }

    def make(self, run: Run, save: Save) -> None:
        """Read a few stimuli at every position."""
        groups = ByCondition.of(list(run.contrast.conditions), run.stimuli.localizing)
        also = [run.class_moments] if {*run.contrast.ablate.mode} & {*NEED_MOMENTS} else []
        n = min(N_STIMULI, len(groups.stimuli))
        with run.reporter.progress("reading positions", n) as on_progress:
            massive = massive_activations(
                run.adapter,
                groups.stimuli,
                run.layout,
                Readout.of(run.contrast.read),
                also=also,
                on_progress=on_progress,
            )
        save({}, {**massive.to_json(), "warnings": warnings_of(massive, run.mask)})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""


def warnings_of(massive: MassiveActivations, mask: UnitMask) -> list[str]:
    """Return a warning per kind of site where selected units are massive.

    Parameters
    ----------
    massive
        The massive activations of the model.
    mask
        The selected units.
    """
    units = massive.units(mask.layout)
    warnings = []
    for kind in mask.layout.kinds:
        chosen = mask.of_kind(kind)
        n = int(np.count_nonzero(chosen.selected & units))
        if n:
            warnings.append(
                f"{n:,} of {len(chosen):,} selected {kind} units hold massive activations; "
                "silencing one of these harms a model whatever it is asked"
            )
    return warnings
