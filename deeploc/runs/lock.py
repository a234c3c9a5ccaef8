"""Who may write to a run folder: one process at a time."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from deeploc.errors import RunError

FILES = (
    "manifest.json",
    "statmap.safetensors",
    "ranking.safetensors",
    "mask.safetensors",
    "units.csv",
    "scores.csv",
    "scores-superseded.csv",
    "controls.safetensors",
    "positions.safetensors",
    "difference.safetensors",
    "verdict.json",
    "examples.json",
    "profile.csv",
    "driving-stimuli.csv",
    "driving-stimuli.safetensors",
    "report.html",
    "parameters.csv",
    "parameters.safetensors",
)
"""Every file that deeploc writes into a run folder."""

_LOCK = ".lock"
_PART = ".part"


@contextmanager
def locked(
    path: Path,
    *,
    create: bool = False,
    files: Collection[str] = FILES,
    marker: str | None = "manifest.json",
) -> Iterator[None]:
    """Keep other processes from writing to a run folder; a killed process leaves no lock.

    Parameters
    ----------
    path
        The folder.
    create
        Whether a folder that does not exist is made. If the context then ends with an exception
        before a stage has written a file, it is removed again.
    files
        What is written there; a folder that holds other files is refused.
    marker
        The file with which any others are tolerated; None: none are.

    Raises
    ------
    RunError
        If the folder cannot be written to, holds files that are not a run's, or another process is
        writing to it.
    """
    made = create and not path.exists()
    lock = _acquired(path, create, files, marker)
    try:
        _remove_parts(path)
        yield
    except BaseException:
        if made:
            _remove_if_empty(path)
        raise
    finally:
        # while it is held: whoever opened it before sees that it is gone, and tries again
        with suppress(OSError):
            (path / _LOCK).unlink(missing_ok=True)
        lock.release()


def _acquired(path: Path, create: bool, files: Collection[str], marker: str | None) -> FileLock:
    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        _refuse_other_files(path, files, marker)
        lock = FileLock(path / _LOCK, blocking=False)
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another deeploc process is writing to {path}; wait until it has finished, "
            "or choose another folder with -o"
        ) from None
    except OSError as error:
        raise RunError(
            f"cannot write to the run folder {path}: {error.strerror or error}; "
            "choose another with -o"
        ) from error
    return lock


def _refuse_other_files(path: Path, files: Collection[str], marker: str | None) -> None:
    names = {file.name for file in path.iterdir()}
    other = [name for name in names - {*files, _LOCK} if not name.endswith(_PART)]
    if other and marker not in names:
        no_run = " and no run" if marker else ""
        raise RunError(
            f"{path} holds other files ({min(other)}){no_run}; "
            "choose an empty or new folder with -o"
        )


def _remove_parts(path: Path) -> None:
    """Remove what a killed process was writing; nobody else can be writing now."""
    for file in path.glob(f".*{_PART}"):
        with suppress(OSError):  # a folder that can only be read has none of ours
            file.unlink()


def _remove_if_empty(path: Path) -> None:
    """Remove the folder if no stage has written a file into it."""
    _remove_parts(path)
    worthless = {_LOCK, "manifest.json"}
    with suppress(OSError):
        if {file.name for file in path.iterdir()} <= worthless:
            for name in worthless:
                (path / name).unlink(missing_ok=True)
            path.rmdir()
