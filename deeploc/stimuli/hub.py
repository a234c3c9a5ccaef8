"""Data sets of the Hugging Face hub, or a local folder in the same layout, through `datasets`.

Only files are read (parquet, csv, json, text …); a data set's own code is never run.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from deeploc.cache import OFFLINE, offline
from deeploc.contrast.sources import Source
from deeploc.errors import ContrastError
from deeploc.stimuli import arrow, labels
from deeploc.stimuli.stimulus import Record, Table, cell
from deeploc.stimuli.tables import checked

TIMEOUT = 10.0
"""Seconds to wait for the hub, once; `datasets` alone would ask for half a minute."""

REMEDY = "go online once, or name a folder that holds its files with --stimuli FOLDER"

_DATASETS_OFFLINE = "HF_DATASETS_OFFLINE"
_SHA = re.compile(r"[0-9a-f]{40}")


def read(source: Source, base: Path) -> Table:
    """Return the rows of a ``hub`` source, with ids ``NAME/CONFIG/SPLIT:ROW`` (counted from 0).

    A folder below ``base`` of that name is read in place of the hub. Where the hub cannot be
    asked, or must not be (`deeploc.cache`), what `datasets` has in its cache is used, if
    it is of the revision asked for. With ``streaming`` only the first rows that ``where`` keeps
    are read, as many as ``limit`` says.

    Raises
    ------
    ContrastError
        If the data set, its revision, config or split is not to be had, or is no table.
    """
    wanted = _Wanted(source, base / str(source.hub))
    theirs: Any = import_module("datasets")
    with _quiet(theirs), wanted.told():
        if why := wanted.away():
            with _cache_only(theirs), wanted.not_cached(why):
                data = wanted.load(theirs)
            wanted.check_revision(data)
        else:
            data = wanted.load(theirs)
        names = _class_names(theirs, data.features or {})
        if source.streaming:
            return Table(list(_first(source, wanted.rows(data), names)), names, whole=False)
        table = data.with_format("arrow")[:]
        return Table([wanted.record(*row) for row in enumerate(arrow.rows(table))], names)


@dataclass(frozen=True)
class _Wanted:
    """A data set that is wanted, and the folder that is read instead if it exists."""

    source: Source
    folder: Path

    @property
    def name(self) -> str:
        return str(self.source.hub)

    @property
    def local(self) -> bool:
        return self.folder.is_dir()

    def record(self, number: int, fields: Mapping[str, str]) -> Record:
        parts = (self.name.rstrip("/"), self.source.config, self.source.split)
        place = f"{'/'.join(part for part in parts if part)}:{number}"
        checked(place, fields)
        return Record(place, fields)

    def rows(self, stream: Any) -> Iterator[Record]:
        schema = stream.features.arrow_schema if stream.features else ()
        skipped = [field.name for field in schema if arrow.holds_bytes(field.type)]
        for number, row in enumerate(stream.remove_columns(skipped)):
            yield self.record(number, arrow.cells(row))

    def load(self, theirs: Any) -> Any:
        path: str = self.name
        said: Mapping[str, str | None] = {
            "name": self.source.config,
            "revision": self.source.revision,
        }
        if self.local:
            path, said = str(self.folder.absolute()), self._place_of_config(theirs)
        streaming = bool(self.source.streaming)
        return theirs.load_dataset(path, split=self.source.split, streaming=streaming, **said)

    def _place_of_config(self, theirs: Any) -> dict[str, str]:
        """Return how the config is said: a copy without a card may have it as a folder."""
        config = self.source.config
        if config is None:
            return {}
        known = theirs.get_dataset_config_names(str(self.folder.absolute()))
        named = config in known or not (self.folder / config).is_dir()
        return {"name": config} if named else {"data_dir": config}

    def away(self) -> str:
        """Return why the hub must not or cannot be asked; nothing if it can, or for a folder."""
        if self.local:
            return ""
        api: Any = import_module("huggingface_hub")
        errors: Any = import_module("huggingface_hub.errors")  # its HTTP library varies
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", self.name):
            raise ContrastError(f"there is no folder {self.folder}, and it is no name of the hub's")
        if offline(_DATASETS_OFFLINE) or api.constants.HF_HUB_OFFLINE:
            return f"offline mode ({' or '.join((*OFFLINE, _DATASETS_OFFLINE))} is set)"
        try:
            api.HfApi().dataset_info(self.name, revision=self.source.revision, timeout=TIMEOUT)
        except errors.RevisionNotFoundError:
            raise ContrastError(f"the hub has no revision {self.source.revision!r} of it") from None
        except errors.RepositoryNotFoundError:
            raise ContrastError(
                "the hub has no public data set of that name; check the spelling, or log in with "
                "`hf auth login` if it is private"
            ) from None
        except (errors.HTTPError, OSError):
            return "the hub cannot be reached"
        return ""

    @contextmanager
    def not_cached(self, why: str) -> Iterator[None]:
        try:
            yield
        except _failures() as error:
            config = f" of its config {self.source.config!r}" if self.source.config else ""
            raise ContrastError(
                f"{why}, and the cache of `datasets` has no split {self.source.split!r}{config}; "
                f"{REMEDY}"
            ) from error

    def check_revision(self, data: Any) -> None:
        """Refuse another revision: offline, `datasets` takes the latest that it finds cached."""
        asked, files = self.source.revision or "", getattr(data, "cache_files", ())
        if not files or not _SHA.fullmatch(asked):
            return  # streamed, or a branch or tag, whose commit the cache does not know
        cached = Path(files[0]["filename"]).parent.name
        if _SHA.fullmatch(cached) and cached != asked:
            raise ContrastError(f"revision {asked} is not in the cache, but {cached}; {REMEDY}")

    @contextmanager
    def told(self) -> Iterator[None]:
        try:
            yield
        except ContrastError as error:
            said = str(error)
            prefix = "" if said.startswith(self.name) else f"hub {self.name!r}: "
            raise ContrastError(f"{prefix}{said}") from None
        except _failures() as error:
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise ContrastError(f"hub {self.name!r} cannot be read: {said}") from error


def _first(source: Source, rows: Iterator[Record], names: labels.Names) -> Iterator[Record]:
    declared = source.names or {}
    where = labels.asked(source.where or {}, {**names, **declared})
    kept = (
        row
        for row in rows
        for labelled in labels.named([row], declared, names)
        if all(cell(labelled, column) in where[column] for column in where)
    )
    return islice(kept, source.limit)


def _failures() -> tuple[type[BaseException], ...]:
    """Return what the libraries of the hub were seen to raise for what is not theirs to repair."""
    parts: Sequence[tuple[str, str]] = (
        ("datasets.exceptions", "DatasetsError"),
        ("huggingface_hub.errors", "HTTPError"),
        ("huggingface_hub.errors", "EntryNotFoundError"),
        ("pyarrow", "ArrowException"),
        ("yaml", "YAMLError"),
    )
    theirs = tuple(getattr(import_module(module), name) for module, name in parts)
    plain = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError)
    return (*theirs, *plain, AssertionError, EOFError)


def _class_names(theirs: Any, features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    kinds = {name: kind for name, kind in features.items() if isinstance(kind, theirs.ClassLabel)}
    return {name: tuple(kind.names) for name, kind in kinds.items()}


@contextmanager
def _cache_only(theirs: Any) -> Iterator[None]:
    """Let the libraries of the hub look into their caches only, and so answer at once."""
    modules: list[Any] = [theirs.config, import_module("huggingface_hub.constants")]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = was


@contextmanager
def _quiet(theirs: Any) -> Iterator[None]:
    """Let the libraries of the hub say nothing, and draw bars on a terminal only."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [logger.level for logger in loggers]
    bars = theirs.are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        if not sys.stderr.isatty():
            theirs.disable_progress_bars()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            theirs.enable_progress_bars()
