"""Stages of a run: what decides each, which files it owns, and what is still current.

A run is a list of stages. The loop in this module, and nothing else, decides whether the files of a
stage may be reused or shown: a stage is current if the manifest records it as complete under the
key that it would have now, and its files are byte for byte those that it recorded.

The *key* of a stage is the hash of its name, its algorithm version, its inputs, and the keys and
file hashes of the stages that it needs. Whatever decides a number must be among them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from deeploc.errors import RunError
from deeploc.runs.folder import RunFolder
from deeploc.runs.keys import differences, json_hash
from deeploc.runs.saving import Pipeline, Save, Saver, StageKind, StageState

RunT = TypeVar("RunT", bound=Pipeline, contravariant=True)


@runtime_checkable
class Stage(Protocol[RunT]):
    """One step of a run. A new stage is one class, and one line in `deeploc.experiment.STAGES`.

    ``name`` is its key in the manifest, ``files`` are the names of the files that it owns,
    ``needs`` the earlier stages whose results it uses. ``algorithm`` is the version of what it
    computes, raised whenever its numbers change. A ``protected`` stage is never made again with
    other inputs unless the user asks to overwrite. What it records as ``warnings`` is reported
    each time, whether its results are new or reused.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]
    algorithm: ClassVar[int]
    protected: ClassVar[bool]

    def inputs(self, run: RunT) -> Mapping[str, Any]:
        """Return what decides its results beside the stages that it needs, by name, as JSON."""
        ...

    def make(self, run: RunT, save: Save) -> None:
        """Compute the results and save them."""
        ...

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Take its files out of sight, because something that it needs has changed."""
        ...


def remove(folder: RunFolder, files: Iterable[str]) -> None:
    """Remove files of a stage that can be computed again.

    Parameters
    ----------
    folder
        The run folder.
    files
        Their names.
    """
    for name in files:
        (folder.path / name).unlink(missing_ok=True)


def bring_up_to_date(
    run: RunT,
    stages: Sequence[Stage[RunT]],
    registry: Sequence[StageKind],
    *,
    overwrite: bool = False,
) -> None:
    """Make every stage that is not current, in order; the caller holds the folder's lock.

    Parameters
    ----------
    run
        The run.
    stages
        The stages that this command needs.
    registry
        Every kind of stage: the results of those that are not asked for are retired when
        something that they need changes.
    overwrite
        Whether a protected stage may be made again with other inputs.

    Raises
    ------
    RunError
        If a protected stage has other inputs, or a file cannot be written.
    """
    if not overwrite:
        for stage in stages:
            if stage.protected:
                _refuse_other_inputs(run, stage)
    reused = []
    for stage in stages:
        state = StageState(run.folder, registry)
        inputs = _inputs(run, stage)
        key = _key(stage, inputs, state.manifest)
        record = state.record(stage.name)
        if record and record.complete and record.key == key and run.folder.is_intact(record):
            reused.append(stage.name)
        else:
            stage.make(run, Saver(run, stage.name, key, inputs, state))
        if stage.protected:
            _update_header(run)  # not earlier: it describes what the results are made from
        _report_warnings(run, stage.name)
    if reused:
        run.reporter.note(f"up to date, reused: {', '.join(reused)}")


def _inputs(run: RunT, stage: Stage[RunT]) -> dict[str, Any]:
    return {"algorithm": stage.algorithm, **stage.inputs(run)}


def _report_warnings(run: Pipeline, stage: str) -> None:
    """Report what a stage recorded as ``warnings``, whether its results are new or reused."""
    record = run.folder.read_plain_manifest().get(stage) or {}
    for warning in record.get("warnings") or ():
        run.reporter.note(f"warning: {warning}")


def _update_header(run: Pipeline) -> None:
    manifest = run.folder.read_plain_manifest()
    current = {**manifest, **run.header}
    if current != manifest:
        run.folder.write_manifest(current)


def changed_inputs(run: RunT, stage: Stage[RunT]) -> list[str]:
    """Return which inputs of a stage differ from those that were recorded.

    Parameters
    ----------
    run
        The run, as it would be made now.
    stage
        The stage.
    """
    record = run.folder.read_manifest().record(stage.name)
    return differences(record.inputs, _inputs(run, stage)) if record else ["everything"]


def _refuse_other_inputs(run: RunT, stage: Stage[RunT]) -> None:
    record = run.folder.read_manifest().record(stage.name) if run.folder.exists() else None
    if record and (different := differences(record.inputs, _inputs(run, stage))):
        raise RunError(
            f"{run.folder.path} holds a run with other inputs: {', '.join(different)}; choose "
            "another folder with -o, or replace that run with --overwrite"
        )


def _key(stage: Stage[Any], inputs: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    needed = {}
    for name in stage.needs:
        record = manifest.get(name) or {}
        # equal files mean equal results, however they came about
        results = record.get("files") or record.get("key")
        needed[name] = results if record.get("complete") else None
    return json_hash({"stage": stage.name, "inputs": inputs, "needs": needed})
