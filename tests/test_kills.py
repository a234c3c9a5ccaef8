"""Interrupted, refused by a full disk, or read-only: what was done stays valid."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_runs.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_runs_resume_to_the_last_bit() -> None:
    """Four kills of real runs, text and image: every file is that of an undisturbed run.

    Left to itself the script kills 200 times.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "4", "--seed", "1"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("every file as undisturbed") == 2


def deeploc(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def arguments(tiny_lm: Path, shared_contrast: Path) -> list[object]:
    """Return the arguments of a command that writes into ``run`` below the current folder."""
    return ["run", shared_contrast, "-m", f"hf:{tiny_lm}", "-o", "run", "-q"]


@pytest.fixture
def command(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[object]:
    """Return the command, whose current folder is ``tmp_path``."""
    enter(tmp_path, monkeypatch)
    return arguments


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Go to a folder; what a manifest says of when and how a run was made is the same anywhere."""
    patch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    patch.setattr("sys.argv", ["deeploc"])
    patch.chdir(folder)


@pytest.fixture(scope="module")
def whole(arguments: list[object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        assert deeploc(*arguments).exit_code == 0
    return contents(folder / "run")


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_be_written_is_one_line(
    command: list[object], whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The disk accepts no more at some stage; with room again, the same command finishes."""
    for n_bytes in (3_000, 9_000, 30_000):
        with files_of_at_most(n_bytes):
            failed = deeploc(*command)
        assert failed.exit_code == 1
        assert isinstance(failed.exception, SystemExit)
        assert failed.stderr.splitlines()[-1].startswith("Error: cannot write ")
        assert not list(tmp_path.glob("run/.*"))

    assert deeploc(*command).exit_code == 0
    assert contents(tmp_path / "run") == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of a few hundred kilobytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "deeploc-test", str(place)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    os.chdir("/")
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_and_a_read_only_one_are_one_line(
    command: list[object], whole: dict[str, bytes], small_disk: Path
) -> None:
    """What was done stays valid; the same command finishes, and reading needs no writing."""
    os.chdir(small_disk)
    failed = deeploc(*command)
    assert failed.exit_code == 1
    assert isinstance(failed.exception, SystemExit)
    assert "No space left on device" in failed.stderr.splitlines()[-1]

    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    assert deeploc(*command).exit_code == 0
    assert contents(small_disk / "run") == whole

    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for args in (command, ["evaluate", "run"], ["report", "run"]):
        failed = deeploc(*args)
        assert failed.exit_code == 1
        assert isinstance(failed.exception, SystemExit)
        last = failed.stderr.splitlines()[-1]
        assert last.startswith("Error: cannot write to the run folder run: Read-only file system")
    presented = deeploc("ablate", "run", "--prompt", "the cat", "--max-tokens", "2")
    assert presented.exit_code == 0
    assert contents(small_disk / "run") == whole
