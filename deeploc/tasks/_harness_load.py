"""Find and load tasks of lm-evaluation-harness by name: from its package, or from own files."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from deeploc.errors import TaskError, nearest
from deeploc.stimuli.hub import cache_only, unreachable

from ._harness_files import Index, check_files, files_of
from ._harness_library import NAME, as_by_itself, library


def load_tasks(wanted: Sequence[str], folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return name -> tasks of the harness, their data sets read; of a group all its members.

    Parameters
    ----------
    wanted
        Names of tasks, groups and tags; ``*`` stands for any text.
    folders
        Further folders with task files. Tasks in them replace those of the harness.

    Raises
    ------
    TaskError
        If there is no such task, it cannot be loaded, or it would run code, see `check_files`.
    """
    manager = _manager(wanted, folders)
    names = {pattern: _matching(pattern, manager.task_index) for pattern in wanted}
    every = list(dict.fromkeys(chain.from_iterable(names.values())))
    index = manager.task_index
    check_files(index, every)
    loaded: dict[str, dict[str, Any]] = {}
    with _reachable_data(index, every):
        with as_by_itself(f"task {NAME!r}: the data files of own tasks cannot be found"):
            _find_data_files(index, set(files_of(index, every)), folders)
        for name in every:
            with as_by_itself(f"task {NAME!r}: {name!r} cannot be loaded"):
                loaded[name] = manager.load([name])["tasks"]
    return {
        pattern: dict(chain.from_iterable(loaded[name].items() for name in found))
        for pattern, found in names.items()
    }


def _manager(wanted: Sequence[str], folders: Sequence[Path]) -> Any:
    """Return what knows the tasks; the harness's own thousands of files are read where needed."""
    for folder in folders:
        if not folder.is_dir():
            raise TaskError(f"task {NAME!r}: there is no folder {folder}; name one in include_path")
    with as_by_itself(f"task {NAME!r}: the files of tasks cannot be read"):
        manager = library("lm_eval.tasks").TaskManager(
            include_path=list(folders), include_defaults=False
        )
        tasks = [name for name, entry in manager.task_index.items() if _is_task(entry)]
        if not set(wanted) <= set(tasks):
            for name, entry in _own_index().items():
                manager.task_index.setdefault(name, entry)
        return manager


@cache
def _own_index() -> Index:
    index: Index = library("lm_eval.tasks").TaskManager().task_index
    return index


def _is_task(entry: Any) -> bool:
    return "TASK" in entry.kind.name


def _matching(pattern: str, index: Index) -> list[str]:
    if "*" in pattern:
        fitting = sorted(name for name in index if fnmatchcase(name, pattern))
        found = [name for name in fitting if _is_task(index[name])]
    else:
        found = [pattern] if pattern in index else []
    if not found:
        raise TaskError(
            f"task {NAME!r}: lm-evaluation-harness has no task {pattern!r}; "
            f"{nearest(pattern, index)}`lm-eval ls tasks` lists them, and include_path names a "
            "folder with further ones"
        )
    return found


def _find_data_files(index: Index, files: Set[Path], folders: Sequence[Path]) -> None:
    """Look for relative data files beside a task file, too; the harness only does where it runs.

    Parameters
    ----------
    index
        Entries of tasks; those of ``files`` are completed.
    files
        The files of the tasks that are wanted, checked for code.
    folders
        Where own task files are: those of the harness stay as they are.
    """
    for entry in index.values():
        file = Path(entry.yaml_path or "").resolve()
        if file not in files or not any(file.is_relative_to(folder) for folder in folders):
            continue
        config = library("lm_eval.tasks._yaml_loader").load_yaml(file)
        options = config.get("dataset_kwargs") or {}
        if isinstance(config.get("task"), str) and "data_files" in options:
            found = _beside(options["data_files"], file.parent)
            entry.cfg = {**config, "dataset_kwargs": {**options, "data_files": found}}
            entry.yaml_path = None


def _beside(files: Any, folder: Path) -> Any:
    """Return names of files, those that exist in ``folder`` only with their folder."""
    if isinstance(files, Mapping):
        return {key: _beside(value, folder) for key, value in files.items()}
    if isinstance(files, list | tuple):
        return [_beside(value, folder) for value in files]
    if "://" in files or Path(files).is_absolute() or any(Path().glob(files)):
        return files
    return str(folder / files) if any(folder.glob(files)) else files


@contextmanager
def _reachable_data(index: Index, names: Sequence[str]) -> Iterator[None]:
    """Ask the hub once whether it answers, if a data set is of it; else only its cache is read."""
    with as_by_itself(f"task {NAME!r}: the hub cannot be asked"):
        of_hub = next(_data_sets(index, names), None)
        reason = unreachable(of_hub) if of_hub else ""
    if not reason:
        yield
        return
    try:
        with cache_only():
            yield
    except TaskError as error:
        raise TaskError(
            f"{error}; {reason}: go online once, or write a task file for data of your own and "
            "name its folder in include_path"
        ) from error


def _data_sets(index: Index, names: Sequence[str]) -> Iterator[str]:
    """Yield the names of data sets of the hub that tasks read."""
    load = library("lm_eval.tasks._yaml_loader").load_yaml
    kinds = library("datasets.packaged_modules")._PACKAGED_DATASETS_MODULES
    for file in files_of(index, names):
        path = load(file, resolve_func=False).get("dataset_path")
        if path and path not in kinds and not Path(path).exists():
            yield path
