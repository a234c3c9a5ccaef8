"""Which weights of a run's model decide a loss."""

from pathlib import Path

from deeploc.core.adapter import ModelOptions
from deeploc.core.attributing import with_loss
from deeploc.experiment import STAGES, open_run
from deeploc.progress import ProgressReporter
from deeploc.runs.folder import RunFolder
from deeploc.runs.lock import locked
from deeploc.runs.parameters import ParametersStage
from deeploc.runs.ranking import Objective
from deeploc.runs.stages import bring_up_to_date


def attribute_parameters(
    folder: Path,
    of: str = "contrast",
    model: ModelOptions | None = None,
    reporter: ProgressReporter | None = None,
) -> RunFolder:
    """Write |weight x gradient| of a loss into a run folder; what is current is reused.

    Parameters
    ----------
    folder
        The run folder.
    of
        ``contrast``, or the name of one of its tasks.
    model
        Device and batch size; what decides the numbers comes from the manifest.
    reporter
        Who receives messages and progress; default nobody.

    Raises
    ------
    DeeplocError
        If the folder is no run, there is no such task, or it or the model has no loss.
    """
    run = open_run(folder, model, reporter)
    with_loss(run.adapter)
    objective = Objective.of_run(run, of)
    with locked(run.folder.path):
        bring_up_to_date(run, [ParametersStage(objective)], STAGES)
    return run.folder
