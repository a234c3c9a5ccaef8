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
from deeploc.stimuli.tables import check_cells

TIMEOUT = 10.0
"""Seconds to wait for the hub, once; `datasets` alone would ask for half a minute."""

_REMEDY = "go online once, or name a folder that holds its files with --stimuli FOLDER"
_DATASETS_OFFLINE = "HF_DATASETS_OFFLINE"
_SHA = re.compile(r"[0-9a-f]{40}")


def read(source: Source, base: Path) -> Table:
    """Return the rows of a ``hub`` source, with ids ``NAME/CONFIG/SPLIT:ROW`` (counted from 0).

    A folder below ``base`` of that name is read in place of the hub. Where the hub is
    unreachable, or offline mode is set (`deeploc.cache`), the cache of `datasets` is used, if it
    holds the revision that the source names. With ``streaming`` only the first rows that
    ``where`` keeps are read, as many as ``limit`` says.

    Parameters
    ----------
    source
        A source whose kind is ``hub``.
    base
        The folder of the contrast file.

    Raises
    ------
    ContrastError
        If the data set, its revision, config or split does not exist or is not cached, or is not
        a table.
    """
    data_set = _DataSet(source, base / str(source.hub), import_module("datasets"))
    with _quiet(data_set.library), data_set.errors():
        if reason := data_set.unreachable():
            with cache_only(), data_set.cache_errors(reason):
                data = data_set.load()
            data_set.check_revision(data)
        else:
            data = data_set.load()
        names = data_set.class_names(data.features or {})
        if source.streaming:
            return Table(list(_first(source, data_set.stream(data), names)), names, whole=False)
        table = data.with_format("arrow")[:]
        return Table([data_set.record(*row) for row in enumerate(arrow.rows(table))], names)


def unreachable(name: str, revision: str | None = None) -> str:
    """Return why the hub cannot be asked for a data set; nothing if it can.

    Parameters
    ----------
    name
        A data set.
    revision
        Its branch, tag or commit.

    Raises
    ------
    RepositoryNotFoundError, RevisionNotFoundError
        Of huggingface_hub, if the hub answers that there is none.
    """
    api: Any = import_module("huggingface_hub")
    errors: Any = import_module("huggingface_hub.errors")  # its HTTP library varies
    if offline(_DATASETS_OFFLINE) or api.constants.HF_HUB_OFFLINE:
        return f"offline mode ({' or '.join((*OFFLINE, _DATASETS_OFFLINE))} is set)"
    try:
        api.HfApi().dataset_info(name, revision=revision, timeout=TIMEOUT)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise
    except (errors.HTTPError, OSError):
        return "the hub is unreachable"
    return ""


@dataclass(frozen=True)
class _DataSet:
    """A data set, the folder that is read instead if it exists, and the library `datasets`."""

    source: Source
    folder: Path
    library: Any

    @property
    def name(self) -> str:
        return str(self.source.hub)

    @property
    def is_local(self) -> bool:
        return self.folder.is_dir()

    def record(self, number: int, fields: Mapping[str, str]) -> Record:
        parts = (self.name.rstrip("/"), self.source.config, self.source.split)
        place = f"{'/'.join(part for part in parts if part)}:{number}"
        check_cells(place, fields)
        return Record(place, fields)

    def stream(self, data: Any) -> Iterator[Record]:
        schema = data.features.arrow_schema if data.features else ()
        skipped = [field.name for field in schema if arrow.holds_bytes(field.type)]
        for number, row in enumerate(data.remove_columns(skipped)):
            yield self.record(number, arrow.cells(row))

    def load(self) -> Any:
        options: Mapping[str, str | None] = {
            "name": self.source.config,
            "revision": self.source.revision,
        }
        path = self.name
        if self.is_local:
            path, options = str(self.folder.absolute()), self._local_options()
        streaming = bool(self.source.streaming)
        load_dataset = self.library.load_dataset
        return load_dataset(path, split=self.source.split, streaming=streaming, **options)

    def _local_options(self) -> dict[str, str]:
        """Return how `datasets` is given the config: a folder without a card may have a subfolder
        of that name.
        """
        config = self.source.config
        if config is None:
            return {}
        known = self.library.get_dataset_config_names(str(self.folder.absolute()))
        is_declared = config in known or not (self.folder / config).is_dir()
        return {"name": config} if is_declared else {"data_dir": config}

    def unreachable(self) -> str:
        """Return why the hub cannot be asked; nothing if it can, or if a folder is read."""
        if self.is_local:
            return ""
        errors: Any = import_module("huggingface_hub.errors")  # its HTTP library varies
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", self.name):
            raise ContrastError(
                f"there is no folder {self.folder}, and the hub has no such names; write "
                "`hub: OWNER/NAME`, or the path of a folder"
            )
        try:
            return unreachable(self.name, self.source.revision)
        except errors.RevisionNotFoundError:
            raise ContrastError(f"the hub has no revision {self.source.revision!r} of it") from None
        except errors.RepositoryNotFoundError:
            raise ContrastError(
                "the hub has no public data set of that name; check the spelling, or log in with "
                "`hf auth login` if it is private"
            ) from None

    def check_revision(self, data: Any) -> None:
        """Refuse another revision: offline, `datasets` takes the latest one in its cache."""
        revision, files = self.source.revision or "", getattr(data, "cache_files", ())
        if not files or not _SHA.fullmatch(revision):
            return  # streamed, or a branch or tag, whose commit the cache does not know
        cached = Path(files[0]["filename"]).parent.name
        if _SHA.fullmatch(cached) and cached != revision:
            raise ContrastError(f"revision {revision} is not in the cache, but {cached}; {_REMEDY}")

    def class_names(self, features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        label = self.library.ClassLabel
        kinds = {column: kind for column, kind in features.items() if isinstance(kind, label)}
        return {column: tuple(kind.names) for column, kind in kinds.items()}

    @contextmanager
    def cache_errors(self, reason: str) -> Iterator[None]:
        try:
            yield
        except _library_errors() as error:
            config = f" of its config {self.source.config!r}" if self.source.config else ""
            raise ContrastError(
                f"{reason}, and the cache of `datasets` has no split {self.source.split!r}{config};"
                f" {_REMEDY}"
            ) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the libraries into errors that name the data set."""
        try:
            yield
        except ContrastError as error:
            message = str(error)
            prefix = "" if message.startswith(self.name) else f"hub {self.name!r}: "
            raise ContrastError(f"{prefix}{message}") from None
        except _library_errors() as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ContrastError(f"hub {self.name!r} cannot be read: {reason}") from error


def _first(source: Source, rows: Iterator[Record], names: labels.Names) -> Iterator[Record]:
    declared = source.names or {}
    where = labels.where_labels(source.where or {}, {**names, **declared})
    kept = (
        row
        for row in rows
        for labelled in labels.with_labels([row], declared, names)
        if all(cell(labelled, column) in where[column] for column in where)
    )
    return islice(kept, source.limit)


def _library_errors() -> tuple[type[BaseException], ...]:
    """Return what the libraries of the hub were observed to raise for unusable data sets."""
    parts: Sequence[tuple[str, str]] = (
        ("datasets.exceptions", "DatasetsError"),
        ("huggingface_hub.errors", "HTTPError"),
        ("huggingface_hub.errors", "EntryNotFoundError"),
        ("pyarrow", "ArrowException"),
        ("yaml", "YAMLError"),
    )
    own = tuple(getattr(import_module(module), name) for module, name in parts)
    plain = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError)
    return (*own, *plain, AssertionError, EOFError)


@contextmanager
def cache_only() -> Iterator[None]:
    """Restrict the libraries of the hub to their caches, so that they return at once."""
    names = ("datasets.config", "huggingface_hub.constants")
    modules: list[Any] = [import_module(name) for name in names]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Silence the logs and warnings of the hub's libraries; progress bars need a terminal."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [logger.level for logger in loggers]
    had_bars = not library.are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        if not sys.stderr.isatty():
            library.disable_progress_bars()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            library.enable_progress_bars()
