"""The runs that somebody means: run folders, and folders that hold runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeploc.errors import RunError
from deeploc.runs.folder import RunFolder
from deeploc.runs.saved_run import SavedRun, load_run


@dataclass(frozen=True)
class FoundRuns:
    """Runs with a selection, and what else lies beside them.

    Parameters
    ----------
    runs
        The runs, in the order of their names on the command line; those of a folder by name.
    left_out
        Folder -> why it is left out: a run of a folder that is unfinished or damaged.
    """

    runs: list[SavedRun] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)


def find_runs(paths: Sequence[Path]) -> FoundRuns:
    """Return the runs in some folders.

    Parameters
    ----------
    paths
        Run folders, and folders that hold run folders (not deeper).

    Raises
    ------
    RunError
        If one is neither, is a run without a selection, or is named twice.
    """
    found = FoundRuns()
    for path in paths:
        if RunFolder(path).exists() or not path.is_dir():
            _add(found, load_run(path))
            continue
        inner = [folder for folder in sorted(path.iterdir()) if RunFolder(folder).exists()]
        if not inner:
            raise RunError(
                f"{path} is no run and holds none: neither it nor a folder in it has a "
                "manifest.json; `deeploc localize CONTRAST -m MODEL -o RUN` makes one"
            )
        for folder in inner:
            try:
                run = load_run(folder)
                _ = run.folder.read_stat_map(), run.mask, run.verdict
            except RunError as error:
                found.left_out[folder] = str(error)
                continue
            _add(found, run)
    return found


def _add(found: FoundRuns, run: SavedRun) -> None:
    path = run.folder.path
    if path.resolve() in [known.folder.path.resolve() for known in found.runs]:
        raise RunError(f"{path} is named twice; name each run once")
    found.runs.append(run)
