"""What a run is made from, given its contrast and its setup: stimuli and tasks."""

from deeploc.analysis.tasks import make_tasks
from deeploc.contrast.model import Contrast
from deeploc.core.unit_task import AnyTask
from deeploc.progress import ProgressReporter
from deeploc.runs.setup import Setup
from deeploc.stimuli import StimulusSets, sample_stimuli


def sampled_stimuli(
    contrast: Contrast, setup: Setup, reporter: ProgressReporter | None = None
) -> StimulusSets:
    """Return the stimuli that localize and those that evaluate, per condition.

    Parameters
    ----------
    contrast
        Its conditions.
    setup
        Seed, limit and folder of the run.
    reporter
        Who receives progress; default nobody.

    Raises
    ------
    ContrastError
        If they cannot be read.
    """
    return sample_stimuli(
        contrast,
        seed=setup.seed,
        limit=setup.limit,
        folder=setup.folder,
        strict=setup.strict,
        reporter=reporter,
    )


def tasks_of(contrast: Contrast, setup: Setup, stimuli: StimulusSets) -> list[AnyTask]:
    """Return the tasks of a contrast, their items read.

    Parameters
    ----------
    contrast, setup, stimuli
        As of a `Run`.
    """
    seed, limit, strict = setup.seed, setup.limit, setup.strict
    return make_tasks(
        contrast, stimuli.halves, seed=seed, limit=limit, strict=strict, folder=setup.folder
    )
