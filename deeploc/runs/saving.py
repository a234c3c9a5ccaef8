"""How results of a stage come into a run folder: at every moment the folder tells the truth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deeploc import atomic
from deeploc.atomic import Buffer
from deeploc.errors import RunError
from deeploc.progress import ProgressReporter
from deeploc.runs.files import hashed
from deeploc.runs.folder import RunFolder
from deeploc.runs.records import StageRecord

Content = str | Iterable[Buffer]
"""Text of a file, or the parts of its bytes."""


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


class StageState:
    """The manifest while a stage is made."""

    def __init__(self, folder: RunFolder, registry: Sequence[StageKind]) -> None:
        """Read it.

        Parameters
        ----------
        folder
            The run folder.
        registry
            Every kind of stage, in the order of the run.
        """
        self.folder = folder
        self.registry = registry
        self.manifest = folder.read_plain_manifest() if folder.exists() else {}

    def record(self, name: str) -> StageRecord | None:
        """Return what the manifest on disk records of a stage.

        Parameters
        ----------
        name
            The stage.
        """
        if not self.folder.exists():
            return None
        return self.folder.read_manifest().record(name)

    def dependents(self, name: str) -> list[StageKind]:
        """Return the stages that need the results of another, directly or not.

        Parameters
        ----------
        name
            The other stage.
        """
        dependents: list[StageKind] = []
        for stage in self.registry:
            if {name, *(each.name for each in dependents)} & set(stage.needs):
                dependents.append(stage)
        return dependents


class Saver:
    """Writes what a stage computed, so that at every moment the folder tells the truth.

    New files are written beside their places first. If they differ from what was recorded, the
    results that rest on them are retired and the manifest no longer calls the stage complete,
    before the new files take their places and the manifest records them.
    """

    def __init__(
        self,
        run: Pipeline,
        stage: str,
        key: str,
        inputs: Mapping[str, Any],
        state: StageState,
    ) -> None:
        """Save results of one stage.

        Parameters
        ----------
        run
            The run.
        stage
            Name of the stage.
        key
            Its key, with which the results are recorded.
        inputs
            Its inputs, by name, as JSON.
        state
            The manifest as it was read before the stage was made.
        """
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
        name, manifest = self._stage, self._state.manifest
        old = manifest.get(name) or {}
        same = all(old.get(part) == record[part] for part in ("files", "complete"))
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
        manifest = {**self._run.header, **self._stages(), self._stage: dict(record)}
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
