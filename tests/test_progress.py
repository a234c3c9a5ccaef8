"""Progress on stderr: lines in a log, a bar on a terminal, nothing where it is quiet."""

import pytest

from deeploc.cli import _progress
from deeploc.cli._progress import Console


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
