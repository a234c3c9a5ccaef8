"""Stages of a run: what decides each, which files it owns, and what is still current.

A run is a list of stages. The loop in this module, and nothing else, decides whether the files of a
stage may be reused or shown: a stage is current if the manifest records it as complete under the
key that it would have now, and its files are byte for byte those that it recorded.

The *key* of a stage is the hash of its name, its algorithm version, its inputs, and the keys and
file hashes of the stages that it needs. Whatever decides a number must be among them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from deeploc import atomic
from deeploc.atomic import Buffer
from deeploc.errors import RunError
from deeploc.progress import ProgressReporter
from deeploc.runs.files import hashed
from deeploc.runs.folder import RunFolder
from deeploc.runs.manifest import StageRecord

_SHORT = 60
"""Longest pair of values that a message shows."""

Content = str | Iterable[Buffer]


@runtime_checkable
class Save(Protocol):
    """Writes results of a stage; may be called several times, the last time complete."""

    def __call__(
        self, files: Mapping[str, Content], results: Mapping[str, Any], *, complete: bool = True
    ) -> None:
        """Write files and record results.

        Parameters
        ----------
        files
            Name -> content, of files that the stage owns.
        results
            What the manifest records, as JSON.
        complete
            Whether the stage is finished; its files count as current only then.
        """
        ...


@runtime_checkable
class Pipeline(Protocol):
    """What the loop needs to know of a run."""

    @property
    def folder(self) -> RunFolder:
        """Where it is."""
        ...

    @property
    def reporter(self) -> ProgressReporter:
        """Who receives messages."""
        ...

    @property
    def header(self) -> Mapping[str, Any]:
        """What the manifest says beside the stages."""
        ...


StageKind = type[Any]
"""A class of stages: `Stage` describes its attributes."""

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
        state = _State(run.folder, registry)
        inputs = _inputs(run, stage)
        key = _key(stage, inputs, state.manifest)
        record = state.record(stage.name)
        if record and record.complete and record.key == key and run.folder.is_intact(record):
            reused.append(stage.name)
        else:
            stage.make(run, _Saver(run, stage, key, inputs, state))
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


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which inputs differ, in words: ``seed (0, now 1)``, ``model (dtype, weights)``.

    Parameters
    ----------
    recorded
        The inputs in the manifest.
    now
        The inputs of this command.
    """
    now = json.loads(json.dumps(now))
    names = [name for name in {**now, **recorded} if recorded.get(name) != now.get(name)]
    return [_difference(name, recorded.get(name), now.get(name)) for name in names]


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [part for part in {**new, **old} if old.get(part) != new.get(part)]
        return f"{name} ({', '.join(parts)})"
    plain = (str, int, float, type(None))
    if isinstance(old, plain) and isinstance(new, plain) and len(f"{old}{new}") < _SHORT:
        return f"{name} ({old}, now {new})"
    return name


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
        needed[name] = record.get("files") or record.get("key")
    return json_hash({"stage": stage.name, "inputs": inputs, "needs": needed})


def json_hash(value: Any) -> str:
    """Return the sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class _State:
    """The manifest while a stage is made."""

    def __init__(self, folder: RunFolder, registry: Sequence[StageKind]) -> None:
        self.folder = folder
        self.registry = registry
        self.manifest = folder.read_plain_manifest() if folder.exists() else {}

    def record(self, name: str) -> StageRecord | None:
        if not self.folder.exists():
            return None
        return self.folder.read_manifest().record(name)

    def dependents(self, name: str) -> list[StageKind]:
        """Return the stages that need the results of ``name``, directly or not."""
        dependents: list[StageKind] = []
        for stage in self.registry:
            if {name, *(each.name for each in dependents)} & set(stage.needs):
                dependents.append(stage)
        return dependents


class _Saver:
    """Writes what a stage computed, so that at every moment the folder tells the truth.

    New files are written beside their places first. If they differ from what was recorded, the
    results that rest on them are retired and the manifest no longer calls the stage complete,
    before the new files take their places and the manifest records them.
    """

    def __init__(
        self,
        run: Pipeline,
        stage: Stage[Any],
        key: str,
        inputs: Mapping[str, Any],
        state: _State,
    ) -> None:
        self._run = run
        self._stage = stage
        self._key = key
        self._inputs = inputs
        self._state = state

    def __call__(
        self, files: Mapping[str, Content], results: Mapping[str, Any], *, complete: bool = True
    ) -> None:
        """Write files and record results, see `Save`."""
        folder = self._run.folder
        with ExitStack() as stack:
            beside = {name: stack.enter_context(_beside(folder.path / name)) for name in files}
            hashes = {name: beside[name].write(content) for name, content in files.items()}
            record = {
                "key": self._key,
                "inputs": dict(self._inputs),
                "files": hashes if complete else {},
                "complete": complete,
                **results,
            }
            self._forget(record)
            for file in beside.values():
                file.take_place()
        self._record(record)

    def _forget(self, record: Mapping[str, Any]) -> None:
        """Retire what rests on results that change now, and no longer call them complete."""
        name, manifest = self._stage.name, self._state.manifest
        old = manifest.get(name) or {}
        same = old.get("files") == record["files"]
        if same and (record["files"] or old.get("key") == record["key"]):
            return
        stale = [stage for stage in self._state.dependents(name) if stage.name in manifest]
        for stage in stale:
            stage.retire(self._run.folder)
        kept = {k: v for k, v in manifest.items() if k not in {stage.name for stage in stale}}
        if old:
            kept[name] = {**old, "files": {}, "complete": False}
        if kept != manifest:
            self._state.manifest = kept
            self._run.folder.write_manifest(kept)

    def _record(self, record: Mapping[str, Any]) -> None:
        manifest = {**self._run.header, **self._stages(), self._stage.name: dict(record)}
        if manifest != self._state.manifest:
            self._state.manifest = manifest
            self._run.folder.write_manifest(manifest)

    def _stages(self) -> dict[str, Any]:
        names = {stage.name for stage in self._state.registry}
        return {k: v for k, v in self._state.manifest.items() if k in names}


@dataclass
class _Beside:
    """A file that is being written beside the place it will take."""

    path: Path
    part: Path

    def write(self, content: Content) -> str:
        """Write the content and return the hash of its bytes."""
        parts, digest = hashed([content.encode()] if isinstance(content, str) else content)
        atomic.write_parts(self.part, parts)
        return digest()

    def take_place(self) -> None:
        """Rename the file to its place."""
        try:
            self.part.replace(self.path)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error


@contextmanager
def _beside(path: Path) -> Iterator[_Beside]:
    part = path.with_name(f".{path.name}.new.part")
    try:
        yield _Beside(path, part)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
