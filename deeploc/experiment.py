"""One experiment in a run folder: localize → evaluate → report, resumable at every stage."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deeploc import plugins
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.unit_task import AnyTask
from deeploc.errors import RunError
from deeploc.progress import ProgressReporter, SilentReporter
from deeploc.report.stage import ReportStage
from deeploc.runs.checks import check_run, checked_layout
from deeploc.runs.difference import DifferenceStage, difference_stages
from deeploc.runs.driving import DrivingStage
from deeploc.runs.evaluating import EvaluateStage
from deeploc.runs.examples import ExamplesStage
from deeploc.runs.folder import RunFolder
from deeploc.runs.inputs import sampled_stimuli, tasks_of
from deeploc.runs.localizing import AuditStage, Localizer, LocalizeStage, ProfileStage, SelectStage
from deeploc.runs.lock import locked
from deeploc.runs.manifest import header_of, options_of
from deeploc.runs.mask_files import read_mask
from deeploc.runs.massive import MassiveStage
from deeploc.runs.parameters import ParametersStage
from deeploc.runs.positions import PositionsStage, positions_stages
from deeploc.runs.ranking import RankingStage, ranking_stages
from deeploc.runs.resampling import ReliabilityStage
from deeploc.runs.run import Run, UnloadedRun
from deeploc.runs.saving import Pipeline, StageKind
from deeploc.runs.setup import Setup
from deeploc.runs.stages import Stage, bring_up_to_date, changed_inputs
from deeploc.runs.untrained import UntrainedStage
from deeploc.runs.used_plugins import use_recorded
from deeploc.runs.verdict import VerdictStage
from deeploc.stimuli import StimulusSets

STAGES: Sequence[StageKind] = (
    AuditStage,
    LocalizeStage,
    RankingStage,
    SelectStage,
    ProfileStage,
    DrivingStage,
    ReliabilityStage,
    UntrainedStage,
    MassiveStage,
    PositionsStage,
    DifferenceStage,
    EvaluateStage,
    VerdictStage,
    ExamplesStage,
    ReportStage,
    ParametersStage,
)
"""Every stage of a run, in their order."""


def run_all(
    contrast: Contrast,
    setup: Setup,
    folder: Path,
    reporter: ProgressReporter | None = None,
    *,
    overwrite: bool = False,
    adapter: Adapter | None = None,
) -> Run:
    """Localize, ablate, evaluate and report into a run folder; return the run.

    What is there and still current is reused.

    Parameters
    ----------
    contrast
        What is compared, how it is read, selected, ablated and evaluated.
    setup
        The model and everything else that the run is made from.
    folder
        The run folder; made if it does not exist.
    reporter
        Who receives messages and progress; default nobody.
    overwrite
        Whether a run with other inputs in the folder may be replaced.
    adapter
        The model of ``setup``, where it is loaded already.

    Raises
    ------
    DeeplocError
        If anything is not usable; mistakes in the tasks are reported before the model is loaded.
    """
    reporter = reporter or SilentReporter()
    stimuli = sampled_stimuli(contrast, setup, reporter)
    tasks = tasks_of(contrast, setup, stimuli)
    with _opened(contrast, setup, folder, stimuli, reporter, adapter=adapter) as run:
        check_run(run, tasks)
        stages = [*_localizing(run), *_evaluating(run, tasks, contrast)]
        bring_up_to_date(run, stages, STAGES, overwrite=overwrite)
    return run


def localize_run(
    contrast: Contrast,
    setup: Setup,
    folder: Path,
    reporter: ProgressReporter | None = None,
    *,
    imported: Path | None = None,
    overwrite: bool = False,
    localizer: Localizer | None = None,
) -> Run:
    """Localize into a run folder and return the run; reuse what is there and still current.

    Parameters
    ----------
    contrast, setup, folder, reporter, overwrite
        As for `run_all`.
    imported
        A file with a mask that replaces the contrast's own selection; see `read_mask` in
        `deeploc.runs.mask_files`.
    localizer
        Computes the statistics in another way, see `deeploc.sweep.shards.ShardedLocalizer`.

    Raises
    ------
    DeeplocError
        If the stimuli, the model or the folder are not usable; a folder that had to be made is
        then removed again.
    """
    reporter = reporter or SilentReporter()
    stimuli = sampled_stimuli(contrast, setup, reporter)
    with _opened(contrast, setup, folder, stimuli, reporter) as run:
        check_run(run, ())
        if imported is not None:
            read_mask(imported, run.layout)  # refused before anything is read
        finding = _localizing(run, imported, localizer)
        bring_up_to_date(run, finding, STAGES, overwrite=overwrite)
    return run


def open_run(
    folder: Path,
    model: ModelOptions | None = None,
    reporter: ProgressReporter | None = None,
    *,
    adapter: Adapter | None = None,
) -> Run:
    """Return the run in ``folder`` with its model loaded, ready to evaluate or ablate.

    Parameters
    ----------
    folder
        The run folder.
    model
        Device and batch size; what decides the numbers comes from the manifest.
    reporter
        Who receives messages and progress; default nobody.
    adapter
        Its model, where it is loaded already.

    Raises
    ------
    RunError
        If the folder is no run, or its weights or stimuli are not those it was localized with.
    """
    place = RunFolder(folder)
    manifest = place.read_manifest()
    place.read_mask()
    use_recorded(manifest.options.plugins, folder)
    options = manifest.options.model_dump()
    hardware = model or ModelOptions()
    setup = Setup.from_options(manifest.address, options, manifest.command, hardware)
    contrast = manifest.resolved_contrast(str(place.manifest))
    stimuli = sampled_stimuli(contrast, setup)
    adapter = adapter or _load(contrast, setup)
    header = {k: v for k, v in place.read_plain_manifest().items() if k not in _STAGE_NAMES}
    header["options"] = options_of(contrast, setup)
    run = Run(place, contrast, setup, adapter, stimuli, header, reporter or SilentReporter())
    if different := changed_inputs(run, LocalizeStage()):
        raise RunError(
            f"{folder}: not what it was localized with: {', '.join(different)} changed; "
            "`deeploc localize` again"
        )
    return run


def evaluate_run(run: Run, contrast: Contrast | None = None) -> None:
    """Measure tasks intact, ablated and under controls; add to the scores, write the report.

    Scores that are already in the folder and were measured on the same items, units and weights
    are kept, so that an evaluation that was interrupted goes on where it was.

    Parameters
    ----------
    run
        The run.
    contrast
        Its ``ablate`` and ``evaluate`` are measured; default the run's own.

    Raises
    ------
    DeeplocError
        If a task cannot be made or measured.
    """
    contrast = contrast or run.contrast
    tasks = tasks_of(contrast, run.setup, run.stimuli)
    measured = replace(run, contrast=contrast)
    with locked(run.folder.path):
        check_run(measured, tasks)
        stages = [MassiveStage(), *_evaluating(run, tasks, contrast)]
        bring_up_to_date(measured, stages, STAGES)


def report_run(folder: Path) -> Path:
    """Write the report of a run anew, without its model; return its path.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RunError
        If the folder is no run, or a file of it is missing or damaged.
    """
    place = RunFolder(folder)
    header = {k: v for k, v in place.read_plain_manifest().items() if k not in _STAGE_NAMES}
    stages: list[Stage[Pipeline]] = [VerdictStage(), ReportStage()]
    with locked(place.path):
        bring_up_to_date(UnloadedRun(place, SilentReporter(), header), stages, STAGES)
    return place.report


_STAGE_NAMES = {stage.name for stage in STAGES}


@contextmanager
def _opened(
    contrast: Contrast,
    setup: Setup,
    folder: Path,
    stimuli: StimulusSets,
    reporter: ProgressReporter,
    *,
    adapter: Adapter | None = None,
) -> Iterator[Run]:
    """Lock the folder and load the model; report unreadable images at the end."""
    place = RunFolder(folder)
    with locked(place.path, create=True):
        adapter = adapter or _load(contrast, setup)
        run = Run(place, contrast, setup, adapter, stimuli, {}, reporter)
        header = header_of(contrast, setup, adapter, stimuli, checked_layout(run))
        for notice in header.get("notices", ()):
            reporter.note(notice)
        if place.exists() and not changed_inputs(run, LocalizeStage()):
            former = place.read_plain_manifest()  # the same run: it keeps its date and command
            header |= {key: former[key] for key in ("created", "command")}
        yield replace(run, header=header)
    stimuli.report_unreadable(reporter)


def _load(contrast: Contrast, setup: Setup) -> Adapter:
    return plugins.load_model(setup.address, replace(setup.model, modality=contrast.modality))


def _localizing(
    run: Run, imported: Path | None = None, localizer: Localizer | None = None
) -> list[Stage[Run]]:
    statistics: list[Stage[Run]] = [AuditStage(), LocalizeStage(localizer)]
    finding = [*statistics, *ranking_stages(run), SelectStage(imported)]
    describing: list[Stage[Run]] = [ProfileStage(), DrivingStage(), ReliabilityStage()]
    return [*finding, *describing, UntrainedStage(), MassiveStage()]


def _evaluating(run: Run, tasks: Sequence[AnyTask], contrast: Contrast) -> list[Stage[Run]]:
    """Return the stages that measure what ``contrast`` asks for; that of the run decides."""
    evaluate = EvaluateStage(tasks, contrast.ablate, run.contrast)
    modes = contrast.ablate.mode
    measuring = [*positions_stages(run, modes), *difference_stages(run, modes)]
    shown = ExamplesStage(run.contrast)
    return [*measuring, evaluate, VerdictStage(), shown, ReportStage()]
