"""Two runs of one model: the lesion matrix, and whether their units dissociate doubly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeploc import atomic
from deeploc.analysis.lesions import LesionMatrix, Side, common_kinds
from deeploc.analysis.measure_lesions import lesion_matrix
from deeploc.analysis.planning import deciding_doses
from deeploc.core.adapter import ModelOptions
from deeploc.core.dissociation import sets_needed
from deeploc.core.results import INTACT, Score
from deeploc.core.task import check_needs
from deeploc.core.unit_task import split_tasks
from deeploc.errors import RunError
from deeploc.experiment import open_run
from deeploc.progress import ProgressReporter, SilentReporter
from deeploc.report.dissociation import Dissociated, render, to_json
from deeploc.runs.dissociation_folder import FILES, DissociationFolder, OwnedScore
from deeploc.runs.evaluating import task_keys
from deeploc.runs.folder import RunFolder
from deeploc.runs.inputs import tasks_of
from deeploc.runs.keys import differences
from deeploc.runs.lock import locked
from deeploc.runs.run import Run
from deeploc.runs.score_rows import read_rows


def default_folder(first: Path, second: Path) -> Path:
    """Return where the dissociation of two runs is written by default.

    Examples
    --------
    >>> default_folder(Path("runs/language-lm"), Path("runs/multiple-demand-lm")).as_posix()
    'runs/dissociate-language-lm-multiple-demand-lm'
    """
    return Path("runs") / f"dissociate-{first.absolute().name}-{second.absolute().name}"


def dissociate_runs(
    runs: tuple[Path, Path],
    folder: Path,
    model: ModelOptions | None = None,
    reporter: ProgressReporter | None = None,
    *,
    controls: int | None = None,
) -> Dissociated:
    """Measure the mask of each run on the tasks of both, and write what that amounts to.

    The masks are those that decide the verdicts of the runs. Scores that either run or ``folder``
    holds are not measured again, so that work which was interrupted goes on where it was.

    Parameters
    ----------
    runs
        Two run folders.
    folder
        Where the results are written; made if it does not exist.
    model
        Device and batch size.
    reporter
        Who receives messages and progress; default nobody.
    controls
        So many matched random sets of each mask; default as many as both contrasts ask for, at
        least as many as a double dissociation needs to be affirmed. The number is fixed before
        anything is measured.

    Raises
    ------
    DeeplocError
        If the runs are of different models or have no kind of site in common, or a task cannot be
        measured.
    """
    reporter = reporter or SilentReporter()
    check_same_model(*runs)
    first = open_run(runs[0], model, reporter)
    second = open_run(runs[1], model, reporter, adapter=first.adapter)
    opened, names = (first, second), _names(first, second)
    sides = _side(first, names[0]), _side(second, names[1])
    kinds = common_kinds(sides)
    if not kinds:
        raise RunError(_nothing_in_common(runs, sides))
    asked = min(run.contrast.ablate.controls.random for run in opened)
    n = max(asked, sets_needed(len(kinds))) if controls is None else controls
    place = DissociationFolder(folder)
    with locked(folder, create=True, files=FILES, marker=None):
        matrix = _measured(opened, sides, n, place, reporter)
        made = Dissociated(names, runs, first.setup.address, matrix, matrix.dissociations())
        atomic.write_json(place.result, to_json(made))
        atomic.write(place.page, render(made))
    return made


def check_same_model(first: Path, second: Path) -> None:
    """Refuse runs of different models, before anything is loaded.

    Parameters
    ----------
    first, second
        The run folders.

    Raises
    ------
    RunError
        If one is no run, or the models differ in anything but their name.
    """
    models = [_identity(RunFolder(path).read_manifest().model) for path in (first, second)]
    if different := differences(*models):
        raise RunError(
            f"{first} and {second} are runs of different models: they differ in "
            f"{', '.join(different)}; a dissociation needs two contrasts in one model"
        )


def _identity(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key != "model"}


def _names(first: Run, second: Run) -> tuple[str, str]:
    """Return what tables call the runs: the contrast, and the folder where that is the same."""
    contrasts = first.contrast.name, second.contrast.name
    if contrasts[0] != contrasts[1]:
        return contrasts
    folders = first.folder.path.absolute(), second.folder.path.absolute()
    if folders[0].name != folders[1].name:
        return folders[0].name, folders[1].name
    return f"{contrasts[0]} (1)", f"{contrasts[1]} (2)"


def _side(run: Run, name: str) -> Side:
    tasks, on_units = split_tasks(tasks_of(run.contrast, run.setup, run.stimuli))
    check_needs(run.adapter, tasks)
    contrast, seed = run.contrast.without_tasks([t.name for t in on_units]), run.setup.seed
    dose, modes = contrast.verdict.dose, run.modes
    doses = deciding_doses(run.stat_map, run.mask, contrast.ablate, dose, seed, modes=modes)
    by_kind = {dose.cell.sites: dose for dose in doses}
    return Side(name, contrast, tasks, task_keys(run, tasks), by_kind, seed)


def _nothing_in_common(runs: tuple[Path, Path], sides: tuple[Side, Side]) -> str:
    first, second = (", ".join(side.doses) or "none" for side in sides)
    return (
        f"{runs[0]} and {runs[1]} ablate no kind of site in common: {first} against {second}; "
        "localize both at the same kinds (--sites)"
    )


def _measured(
    runs: tuple[Run, Run],
    sides: tuple[Side, Side],
    n_controls: int,
    place: DissociationFolder,
    reporter: ProgressReporter,
) -> LesionMatrix:
    """Return the lesion matrix; what is measured is saved as it comes."""
    known = [*place.read_scores(), *(row for run in runs for row in _known(run.folder))]
    owners = {key: side.name for side in reversed(sides) for key in side.task_keys.values()}
    total = 1 + 2 * len(common_kinds(sides)) * (1 + n_controls)
    with reporter.progress("dissociating", total) as on_progress:

        def on_scores(side: Side | None, scores: list[Score]) -> None:
            for row in scores:
                name = side.name if side else INTACT
                place.add(OwnedScore(name, owners[row.task_key], row))
            on_progress(1)

        try:
            matrix = lesion_matrix(
                runs[0].adapter, sides, n_controls, known=known, on_scores=on_scores
            )
        except BaseException:
            place.save(complete=False)
            raise
    place.save(complete=True)
    return matrix


def _known(folder: RunFolder) -> list[Score]:
    return [*folder.read_scores(), *read_rows(folder.superseded)]
