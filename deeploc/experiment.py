"""One experiment in a run folder: localize → evaluate → report, resumable at every step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc import atomic, plugins
from deeploc.analysis.audit import examine
from deeploc.analysis.evaluation import evaluate, network, plan
from deeploc.analysis.localization import localize
from deeploc.analysis.profile import profile
from deeploc.analysis.tasks import make_tasks
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.responses import to_csv as profile_csv
from deeploc.core.results import Score
from deeploc.core.task import Task
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.progress import Silent, Watch
from deeploc.report import html as report
from deeploc.runs import files as artefacts
from deeploc.runs.folder import RunFolder, Saving
from deeploc.runs.manifest import Setup, Stimuli, changed, fingerprint, inputs, manifest_of
from deeploc.stimuli import Drawn, draw
from deeploc.stimuli.stimulus import content_hash


@dataclass(frozen=True)
class Run:
    """An experiment whose localization is done, with its model loaded."""

    folder: RunFolder
    contrast: Contrast
    setup: Setup
    adapter: Adapter
    stat_map: StatMap
    mask: UnitMask
    halves: tuple[Stimuli, Stimuli]
    manifest: Mapping[str, Any]


def stimuli_of(contrast: Contrast, setup: Setup, watch: Watch | None = None) -> Drawn:
    """Return the stimuli that localize and those that evaluate, per condition."""
    limit, folder, strict = setup.limit, setup.folder, setup.strict
    return draw(contrast, seed=setup.seed, limit=limit, folder=folder, strict=strict, watch=watch)


def run_all(contrast: Contrast, setup: Setup, folder: Path, watch: Watch | None = None) -> Run:
    """Localize, ablate, evaluate and report into a run folder; return the run.

    Raises
    ------
    DeeplocError
        If anything is not usable; a fault of the tasks is told before the model is loaded.
    """
    watch = watch or Silent()
    drawn = stimuli_of(contrast, setup, watch)
    tasks = _tasks(contrast, setup, drawn.halves)
    run = _localize_into(contrast, setup, folder, drawn, watch, None)
    _evaluate(run, tasks, watch)
    drawn.tell(watch)
    return run


def localize_run(
    contrast: Contrast,
    setup: Setup,
    folder: Path,
    watch: Watch | None = None,
    *,
    given: Callable[[StatMap], UnitMask] | None = None,
) -> Run:
    """Localize into a run folder and return the run; reuse what is there and still current.

    ``given`` supplies the mask instead of the contrast's selection (an imported one, say).

    Raises
    ------
    DeeplocError
        If the stimuli, the model or the folder are not usable; a folder that had to be made is
        then removed again.
    """
    watch = watch or Silent()
    drawn = stimuli_of(contrast, setup, watch)  # its faults are told before a model loads
    run = _localize_into(contrast, setup, folder, drawn, watch, given)
    drawn.tell(watch)
    return run


def open_run(folder: Path, model: ModelOptions | None = None) -> Run:
    """Return the run in ``folder`` with its model loaded, ready to evaluate or ablate.

    ``model`` may change device and batch size; what decides the numbers comes from the manifest.

    Raises
    ------
    RunError
        If the folder is no run, or its weights or stimuli are not those it was localized with.
    """
    place = RunFolder(folder)
    manifest = place.read_manifest()
    setup = Setup.restored(manifest, model or ModelOptions())
    contrast = Contrast.restored(manifest["contrast"], Path(manifest["options"]["base"]))
    drawn = stimuli_of(contrast, setup)
    adapter = plugins.load_model(setup.address, setup.model)
    if differences := changed(manifest, inputs(contrast, setup, adapter, drawn.localizing)):
        raise RunError(
            f"{folder}: not what it was localized with: {', '.join(differences)} changed; "
            "`deeploc localize` again"
        )
    stat_map, mask = artefacts.load_statmap(place.statmap), artefacts.load_mask(place.mask)
    return Run(place, contrast, setup, adapter, stat_map, mask, drawn.halves, manifest)


def evaluate_run(run: Run, watch: Watch | None = None) -> None:
    """Measure the contrast's tasks intact, ablated and under controls; write scores and report.

    Scores that are already in the folder and were measured on the same items, units and weights
    are kept, so that a killed evaluation goes on where it was.

    Raises
    ------
    DeeplocError
        If a task cannot be made or measured.
    """
    tasks = _tasks(run.contrast, run.setup, run.halves)
    _evaluate(run, tasks, watch or Silent())


def _tasks(contrast: Contrast, setup: Setup, halves: tuple[Stimuli, Stimuli]) -> list[Task]:
    seed, limit, strict = setup.seed, setup.limit, setup.strict
    return make_tasks(contrast, halves, seed=seed, limit=limit, strict=strict)


def _localize_into(
    contrast: Contrast,
    setup: Setup,
    folder: Path,
    drawn: Drawn,
    watch: Watch,
    given: Callable[[StatMap], UnitMask] | None,
) -> Run:
    place = RunFolder(folder)
    made = place.claim()
    try:
        adapter = plugins.load_model(setup.address, setup.model)
        audit = examine(contrast, drawn, adapter)
        for warning in audit.warnings:
            watch.note(f"warning: {warning}")
        former = place.read_manifest() if place.manifest.exists() else {}
        stat_map, fresh = _statistics(
            contrast, setup, place, adapter, drawn.localizing, former, watch
        )
        mask = given(stat_map) if given else _network(contrast, stat_map)
    except BaseException:
        if made:
            place.abandon()
        raise
    if fresh:
        place.clear()
        artefacts.save_statmap(place.statmap, stat_map)
    artefacts.save_mask(place.mask, mask)
    atomic.write(place.units, artefacts.units_csv(mask, stat_map))
    manifest = manifest_of(
        contrast, setup, adapter, drawn, stat_map=stat_map, mask=mask, audit=audit
    )
    if "evaluate" in former and not fresh:
        manifest["evaluate"] = former["evaluate"]
    place.write_manifest(manifest)
    manifest["profile"] = _profiled(
        place, adapter, contrast, (stat_map, mask), drawn.halves, manifest, former, watch
    )
    place.write_manifest(manifest)
    return Run(place, contrast, setup, adapter, stat_map, mask, drawn.halves, manifest)


def _statistics(
    contrast: Contrast,
    setup: Setup,
    place: RunFolder,
    adapter: Adapter,
    localizing: Stimuli,
    former: Mapping[str, Any],
    watch: Watch,
) -> tuple[StatMap, bool]:
    """Return the StatMap and whether it is new: the folder's own is taken if still current."""
    differences = changed(former, inputs(contrast, setup, adapter, localizing))
    if not differences and place.statmap.exists():
        watch.note("statistics are up to date: reused")
        return artefacts.load_statmap(place.statmap), False
    if former:
        watch.note(f"{', '.join(differences) or 'statistics'} changed: starting afresh")
    with watch.progress("localizing", sum(map(len, localizing.values()))) as tick:
        return localize(adapter, contrast, localizing, seed=setup.seed, progress=tick), True


def _network(contrast: Contrast, stat_map: StatMap) -> UnitMask:
    try:
        return network(stat_map, contrast.select)
    except ValueError as error:
        raise contrast.fault(("select",), str(error)) from None


def _evaluate(run: Run, tasks: Sequence[Task], watch: Watch) -> None:
    todo = plan(run.stat_map, run.mask, run.contrast.ablate, run.setup.seed)
    for notice in todo.notices:
        watch.note(notice)
    described = {task.name: _describe(task, run) for task in tasks}
    former = run.manifest.get("evaluate", {}).get("tasks", {})
    current = {n for n, task in former.items() if described.get(n, task) == task}
    known = [row for row in run.folder.read_scores() if row.task in current]
    evaluated = {"tasks": {**former, **described}}
    run.folder.write_manifest(
        {**run.manifest, "evaluate": evaluated, "notices": list(todo.notices)}
    )
    with watch.progress("evaluating", len(todo.cells)) as tick, Saving(run.folder, known) as save:

        def done(scores: list[Score]) -> None:
            save(scores)
            tick(1)

        evaluate(run.adapter, tasks, todo.cells, known=known, seed=run.setup.seed, done=done)
    atomic.write(run.folder.report, report.render(run.folder.path))


def _describe(task: Task, run: Run) -> dict[str, Any]:
    """Return what the manifest says of a task; ``key`` decides whether its scores are current."""
    items = dict(task.identity)
    selected = fingerprint(run.mask.selected.nonzero()[0].tolist())
    key = fingerprint([run.manifest["localize"]["fingerprint"], selected, items])
    return {"metrics": dict(task.metrics), "items": items, "key": key}


def _profiled(
    place: RunFolder,
    adapter: Adapter,
    contrast: Contrast,
    found: tuple[StatMap, UnitMask],
    halves: tuple[Stimuli, Stimuli],
    manifest: Mapping[str, Any],
    former: Mapping[str, Any],
    watch: Watch,
) -> dict[str, Any]:
    """Write profile.csv of a run and return what its manifest says of it.

    ``manifest`` is that of the localization, ``former`` that of an earlier run in the folder:
    its profile is kept where it is of the same statistics, units and stimuli.
    """
    localizing, held_out = halves
    stat_map, mask = found
    hashes = {name: content_hash(stimuli) for name, stimuli in held_out.items()}
    selected = mask.selected.nonzero()[0].tolist()
    key = fingerprint([manifest["localize"]["fingerprint"], contrast.split, selected, hashes])
    told: dict[str, Any] = former.get("profile") or {}
    if told.get("key") == key and place.profile.exists():
        return told
    counts = {name: len(stimuli) for name, stimuli in localizing.items()}
    seed = manifest["options"]["seed"]
    with watch.progress("profiling", sum(map(len, held_out.values()))) as tick:
        made = profile(
            adapter, contrast, stat_map, mask, held_out, counts=counts, seed=seed, progress=tick
        )
    atomic.write(place.profile, profile_csv(made.responses))
    return {**made.described(), "key": key}
