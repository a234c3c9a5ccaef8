"""The files that describe tasks of lm-evaluation-harness: which of them could run code."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deeploc.core.harness import is_trusted
from deeploc.errors import TaskError

from ._harness_library import NAME, library

Index = Mapping[str, Any]
"""Task, group or tag -> its entry, as in ``TaskManager.task_index``."""

_TABLES = ("arrow", "csv", "json", "parquet", "text")
"""Kinds of data files of `datasets` that hold data and nothing else."""


def check_files(index: Index, names: Iterable[str]) -> None:
    """Refuse tasks that run unsafe code, and files outside the harness that could run any.

    The harness's own files may name functions of it. Others may only where the user named their
    folder on the command line (`deeploc.core.harness.trust`).

    Parameters
    ----------
    index
        What there is.
    names
        The tasks and groups that are wanted.

    Raises
    ------
    TaskError
        Naming the file, and what in it is code.
    """
    own = Path(library().__file__).resolve().parent
    for file in files_of(index, names):
        config = _plain(file)
        if config.get("unsafe_code"):
            raise TaskError(
                f"task {NAME!r}: {config.get('task', file.stem)!r} runs code that the model "
                "writes; deeploc does not run such tasks: leave it out"
            )
        if file.is_relative_to(own) or is_trusted(file):
            continue
        if why := next(_code_in(file, config), ""):
            raise TaskError(
                f"{file}: {why}; a contrast file never runs code: if you trust it, name its "
                f"folder on the command line, `deeploc {NAME} RUN --tasks NAME "
                f"--include-path {file.parent}`"
            )


def files_of(index: Index, names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of tasks, of the members of groups, and of what these files include.

    Parameters
    ----------
    index
        What there is.
    names
        The tasks, groups and tags.
    """
    seen: set[Any] = set()
    pending: list[Any] = [index[name] for name in names if name in index]
    while pending:
        entry = pending.pop()
        members = set(entry.tags)
        for file in _with_included(entry.yaml_path):
            if file not in seen:
                seen.add(file)
                members |= set(_strings(_plain(file).get("task")))
                yield file
        new = sorted(name for name in members if name in index and name not in seen)
        seen.update(new)
        pending += [index[name] for name in new]


def _with_included(path: Path | None) -> Iterator[Path]:
    pending, seen = [path] if path else [], set()
    while pending:
        file = Path(pending.pop()).expanduser().resolve()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        yield file
        pending += [file.parent / included for included in _strings(_plain(file).get("include"))]


def _strings(value: Any) -> Iterator[str]:
    """Yield every text in a value of YAML."""
    if isinstance(value, str):
        yield value
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            yield from _strings(part)


def _plain(file: Path) -> dict[str, Any]:
    """Return a file as plain values, its functions by name."""
    load = library("lm_eval.tasks._yaml_loader").load_yaml
    try:
        config: dict[str, Any] = load(file, resolve_func=False, recursive=False)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TaskError(f"{file}: {' '.join(str(error).split())}; correct the file") from error
    return config


def _code_in(file: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what in a file could run Python code."""
    for event in yaml.parse(file.read_bytes(), Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            value = getattr(event, "value", "")
            line = event.start_mark.line + 1 if event.start_mark else "?"
            yield f"{tag} {value} (line {line}) names Python code"
    for part in _mappings(config):
        yield from _code_in_part(part)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in a value of YAML: a group may describe tasks within it."""
    if isinstance(value, Mapping):
        yield value
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            yield from _mappings(part)


def _code_in_part(part: Mapping[str, Any]) -> Iterator[str]:
    for key in ("class", "use_prompt"):
        if key in part:
            yield f"{key}: {part[key]} names Python code"
    if (path := part.get("dataset_path")) and _is_kind_of_files(path):
        yield f"dataset_path: {path} reads files that may hold code ({', '.join(_TABLES)} do not)"
    library("lm_eval.api.metrics")  # it registers them
    metrics = library("lm_eval.api.registry").metric_registry
    if (name := part.get("metric")) and (part.get("hf_evaluate") or name not in metrics):
        yield f"metric {name!r} is none of the harness's own, and would be loaded as code"


def _is_kind_of_files(path: Any) -> bool:
    kinds = library("datasets.packaged_modules")._PACKAGED_DATASETS_MODULES
    return path in kinds and path not in _TABLES
