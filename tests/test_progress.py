"""Progress on stderr: lines in a log, a bar on a terminal, nothing where it is quiet."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path

import click
import pytest

from deeploc.cli import _progress
from deeploc.cli._progress import Console
from deeploc.contrast.model import load as load_contrast
from deeploc.experiment import run_all
from deeploc.progress import OnProgress, ignore_progress, tell
from deeploc.runs.setup import Setup


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def test_a_log_gets_a_line_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Done, total and the time left, at a rate of two steps a minute; then how long it took."""
    with Console().progress("evaluating", 6) as on_progress:
        for _ in range(6):
            clock.now += 30
            on_progress(1)

    assert capsys.readouterr().err.splitlines() == [
        "evaluating: 2 of 6, about 2 min 0 s left",
        "evaluating: 4 of 6, about 1 min 0 s left",
        "evaluating: 6 of 6 in 3 min 0 s",
    ]


def test_short_work_is_silent_in_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Work of less than a minute prints nothing."""
    with Console().progress("localizing", 2) as on_progress:
        clock.now += 59
        on_progress(2)

    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither notes nor progress."""
    console = Console(quiet=True)
    console.note("a note")
    with console.progress("localizing", 2) as on_progress:
        clock.now += 600
        on_progress(1)

    assert capsys.readouterr().err == ""


class Terminal(StringIO):
    """A terminal: what is written to it, and what stands on its last line."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """The last line, each drawing of which begins at the first column."""
        return self.getvalue().rpartition("\n")[2].rpartition("\r")[2].removesuffix("\033[K")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Return what makes a terminal of 80 columns of stderr, from within a test."""

    def connected() -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return connected


def test_a_terminal_shows_what_is_measured(clock: Clock, connect: Callable[[], Terminal]) -> None:
    """Label, bar, count, time left, and the mask, dose and task; nothing is left behind."""
    terminal = connect()
    console = Console()
    with console.progress("evaluating", 40) as on_progress:
        assert terminal.shown == "evaluating ╌╌╌╌╌╌╌╌ 0 of 40"
        for mask in ("selected units, zero 1 %", "mask 1 of 20, zero 1 %"):
            clock.now += 5
            on_progress(10)
            clock.now += 1
            tell(console, mask)
        assert terminal.shown == ("evaluating ━━━━╌╌╌╌ 20 of 40, 11 s left; mask 1 of 20, zero 1 %")
        assert "\n" not in terminal.getvalue()
    assert terminal.shown == ""


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_progress_fits_the_terminal(
    columns: int, clock: Clock, connect: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is as wide as the terminal would be broken, and never written again."""
    terminal = connect()
    monkeypatch.setenv("COLUMNS", str(columns))
    console = Console()
    with console.progress("reading signed activations", 123456) as on_progress:
        tell(console, "a task with a very long name " * 5)
        clock.now += 9
        on_progress(1234)
        drawn = terminal.getvalue().replace("\033[K", "").split("\r")
        assert max(map(len, drawn)) < columns
        assert terminal.shown.endswith("…")


def test_a_note_does_not_tear_the_bar(connect: Callable[[], Terminal]) -> None:
    """It is broken between words above the bar, which is drawn again."""
    terminal = connect()
    console = Console()
    with console.progress("localizing", 2):
        console.note("warning: " + "word " * 30)
        *lines, bar = terminal.getvalue().replace("\r\033[K", "\r").split("\n")

    assert len(lines) == 2
    assert all(len(click.unstyle(line).rpartition("\r")[2]) <= 80 for line in lines)
    assert click.unstyle(lines[0]).rpartition("\r")[2].startswith("warning: word")
    assert bar == "\rlocalizing ╌╌╌╌╌╌╌╌ 0 of 2\033[K"


def test_the_time_left_follows_the_pace_of_now(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results that are known already come at once, and say nothing of those to be measured."""
    with Console(line_every=200).progress("evaluating", 150) as on_progress:
        for _ in range(100):
            on_progress(1)
        for _ in range(25):
            clock.now += 10
            on_progress(1)

    assert "evaluating: 120 of 150, about 5 min 0 s left" in capsys.readouterr().err


def test_a_log_says_what_is_measured(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end of the line of the minute."""
    console = Console()
    with console.progress("evaluating", 3) as on_progress:
        clock.now += 60
        tell(console, "mask 1 of 20, zero 1 %, perplexity")
        on_progress(1)

    line, _ = capsys.readouterr().err.splitlines()
    assert line == ("evaluating: 1 of 3, about 2 min 0 s left; mask 1 of 20, zero 1 %, perplexity")


def test_a_dumb_terminal_gets_lines(
    connect: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot go back on a line."""
    terminal = connect()
    monkeypatch.setenv("TERM", "dumb")
    with Console().progress("localizing", 2) as on_progress:
        on_progress(1)

    assert terminal.getvalue() == ""


def test_a_terminal_without_unicode_gets_a_plain_bar(
    connect: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its encoding decides."""
    terminal = connect()
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    with Console().progress("localizing", 2):
        assert terminal.shown == "localizing -------- 0 of 2"


class Follower:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None: ...

    def now(self, text: str) -> None:
        self.told.append(text)

    def progress(self, label: str, total: int) -> AbstractContextManager[OnProgress]:
        del label, total
        return nullcontext(ignore_progress)


def test_a_run_tells_what_it_measures(tiny_lm: Path, contrast_file: Path, tmp_path: Path) -> None:
    """Every ablation of the plan: the mask, how many of how many, the dose and the tasks."""
    follower = Follower()
    run_all(load_contrast(contrast_file), Setup(f"hf:{tiny_lm}"), tmp_path / "run", follower)

    tasks = "perplexity, minimal-pairs"
    assert follower.told[0] == f"intact model, {tasks}"
    for text in ("top units, zero 10 %", "mask 3 of 3, mean 10 %", "bottom units"):
        assert any(told.startswith(text) for told in follower.told), follower.told
    assert f"mask 1 of 3, zero 10 %, {tasks}, block" in follower.told
