"""Find and load tasks of lm-evaluation-harness by name: from its package, or from own files."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from deeploc.errors import TaskError, nearest
from deeploc.stimuli.hub import cache_only, unreachable

from ._harness_files import Index, check_files, files_of
from ._harness_library import NAME, as_by_itself, library


def load_tasks(wanted: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """Return tasks of the harness by name, their data sets read; groups as their members.

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
    names = [name for pattern in wanted for name in _matching(pattern, manager)]
    index = manager.task_index
    check_files(index, names)
    loaded: dict[str, Any] = {}
    with _reachable_data(index, names):
        _find_data_files(index, set(files_of(index, names)), folders)
        for name in dict.fromkeys(names):
            with as_by_itself(f"task {NAME!r}: {name!r} cannot be loaded"):
                loaded |= manager.load([name])["tasks"]
    return loaded


def _manager(wanted: Sequence[str], folders: Sequence[Path]) -> Any:
    """Return what knows the tasks; the harness's own thousands of files are read where needed."""
    for folder in folders:
        if not folder.is_dir():
            raise TaskError(f"task {NAME!r}: there is no folder {folder}; name one in include_path")
    with as_by_itself(f"task {NAME!r}: the files of tasks cannot be read"):
        if not folders:
            return _own_manager()
        own = library("lm_eval.tasks").TaskManager(
            include_path=list(folders), include_defaults=False
        )
        if all(name in own.all_subtasks for name in wanted):
            return own
        return library("lm_eval.tasks").TaskManager(include_path=list(folders))


@cache
def _own_manager() -> Any:
    return library("lm_eval.tasks").TaskManager()


def _matching(pattern: str, manager: Any) -> list[str]:
    if "*" in pattern:
        found = [name for name in manager.all_subtasks if fnmatchcase(name, pattern)]
    else:
        found = [pattern] if pattern in manager.task_index else []
    if not found:
        raise TaskError(
            f"task {NAME!r}: lm-evaluation-harness has no task {pattern!r}; "
            f"{nearest(pattern, manager.all_tasks)}`lm-eval ls tasks` lists them, and "
            "include_path names a folder with further ones"
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
    load = library("lm_eval.tasks._yaml_loader").load_yaml
    kinds = library("datasets.packaged_modules")._PACKAGED_DATASETS_MODULES
    paths = (load(file, resolve_func=False).get("dataset_path") for file in files_of(index, names))
    of_hub = next((p for p in paths if p and p not in kinds and not Path(p).exists()), None)
    with as_by_itself(f"task {NAME!r}: the data set {of_hub!r} cannot be loaded"):
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
