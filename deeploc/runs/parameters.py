"""The stage that says which weights decide a loss: |weight x gradient|."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from deeploc.core.attributing import with_loss
from deeploc.core.attribution import WeightAttribution
from deeploc.core.readout import Readout
from deeploc.runs.files import safetensors_parts
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.ranking import Objective
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import remove

TABLE, ROWS = "parameters.csv", "parameters.safetensors"
"""The names of its files: a row per tensor, and a number per unit."""


@dataclass(frozen=True)
class ParametersStage:
    """Takes the gradient of an objective with respect to every weight.

    Parameters
    ----------
    objective
        Whose loss it is.
    """

    objective: Objective

    name: ClassVar[str] = "parameters"
    files: ClassVar[tuple[str, ...]] = (TABLE, ROWS)
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the model, the stimuli and whose loss it is."""
        return {**shared_inputs(run), "objective": self.objective.identity}

    def make(self, run: Run, save: Save) -> None:
        """Attribute."""
        model, terms = with_loss(run.adapter), self.objective.terms(run)
        with run.reporter.progress("differentiating", len(terms)) as on_progress:
            found = model.weight_attributions(terms, run.layout, Readout.of(run.contrast.read))
            on_progress(len(terms))
        rows = safetensors_parts({"rows": found.rows}, run.layout)
        record = {"of": self.objective.of, "sources": dict(found.sources)}
        save({TABLE: _csv(found), ROWS: rows}, record)

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove what it found."""
        remove(folder, ParametersStage.files)


def _csv(found: WeightAttribution) -> str:
    """Return parameters.csv: a row per tensor, the largest sum first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tensor", "weights", "sum", "mean"])
    for name, (n, total) in sorted(found.tensors.items(), key=lambda item: -item[1][1]):
        writer.writerow([name, n, repr(total), repr(total / n)])
    return text.getvalue()
