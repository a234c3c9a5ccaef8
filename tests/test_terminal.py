"""What the commands print fits the terminal, and is coloured where it may be."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from deeploc.cli import main
from deeploc.cli._table import table_lines

HEAD = ["site", "kind", "units", "selected", "max t"]
ROW = ["transformer.h.11.mlp.down_projection", "mlp-neurons", "1,024", "10", "12.5"]


def lines_of(head: Sequence[str], rows: Sequence[Sequence[str]], n: int, width: int) -> list[str]:
    return list(table_lines(head, rows, n, width))


def test_a_table_that_fits_is_as_wide_as_its_texts() -> None:
    """Texts to the left, numbers to the right, nothing broken."""
    assert lines_of(HEAD, [ROW], 3, 80) == [
        "site                                  kind         units  selected  max t",
        "transformer.h.11.mlp.down_projection  mlp-neurons  1,024        10   12.5",
    ]


def test_wide_texts_are_broken_and_numbers_are_not() -> None:
    """The widest column is narrowed; what is broken keeps its indent."""
    row = ["  one two three four five six", "1.25"]
    assert lines_of(["run", "mean"], [row, ["total", "0.5"]], 1, 24) == [
        "run                 mean",
        "  one two three     1.25",
        "  four five six",
        "total                0.5",
    ]


def test_columns_that_do_not_fit_stand_below() -> None:
    """Every block begins with the first column."""
    rows = [["sentences", "12.25", "13.25", "14.25"]]
    assert lines_of(["", "intact", "ablated", "random"], rows, 3, 28) == [
        "           intact  ablated",
        "sentences   12.25    13.25",
        "",
        "           random",
        "sentences   14.25",
    ]


def test_a_subheading_widens_nothing() -> None:
    """It is broken at the end of the line."""
    rows = [["a long name of a metric"], ["  x", "1"]]
    assert lines_of(["", "n"], rows, 1, 12) == ["     n", "a long name", "of a metric", "  x  1"]


words = st.text("abc d", min_size=0, max_size=30)


@given(
    rows=st.lists(st.tuples(words, words, st.integers(0, 10**9).map(str)), max_size=4),
    width=st.integers(40, 90),
)
def test_no_line_is_wider_and_no_text_is_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    """Of whatever texts, at any width that holds three columns."""
    lines = lines_of(["first", "second", "n"], rows, 1, width)

    def letters(texts: Sequence[str]) -> list[str]:
        return sorted("".join(texts).replace(" ", ""))

    assert max(map(len, lines)) <= width
    assert letters(lines) == letters(["first", "second", "n", *("".join(row) for row in rows)])


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize(
    "command",
    ["contrasts", "contrasts language", "doctor --offline", "check language"],
)
def test_what_is_printed_fits(command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what cannot be broken is longer: a path or an address."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("deeploc.doctor.examine.PATIENCE", 0.0)
    result = CliRunner().invoke(main, command.split())

    assert result.exit_code == 0, result.output
    text = re.sub(r"(?m)^(warning|language): .*\n", "", result.stdout)  # a line each, for grep
    assert _long(text, columns) == []


@pytest.mark.parametrize("columns", [60, 80])
def test_a_run_in_full_fits(
    columns: int, whole_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Effects, profile, reliability and verdict."""
    from deeploc.cli._results import print_results
    from deeploc.runs.folder import RunFolder

    monkeypatch.setenv("COLUMNS", str(columns))
    print_results(RunFolder(whole_run), as_json=False, verbose=True, profile=True)
    printed = capsys.readouterr().out

    assert "reliable" in printed
    assert _long(printed, columns) == []


def test_the_help_fits() -> None:
    """Its examples are lines of their own, which are not broken."""
    assert _long(CliRunner().invoke(main, ["--help"]).output, 80) == []


def _long(text: str, columns: int) -> list[str]:
    """Return the lines that are too long, without those that a path makes so."""
    long = [line for line in text.splitlines() if len(line) > columns]
    return [line for line in long if not re.search(r"\S*/\S{20,}", line)]


WARNED = ["doctor", "--offline"]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have a config file that cannot be read."""
    (tmp_path / "config.yaml").write_text("plugin: []\n")
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setattr("deeploc.doctor.examine.PATIENCE", 0.0)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_a_file_is_coloured_only_if_forced(
    environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both variables count if they are not empty, and NO_COLOR counts more."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, WARNED)
    error = CliRunner().invoke(main, ["report", "nothing-here"])

    assert ("\x1b[31mproblem:\x1b[0m" in result.stdout) == is_coloured
    assert ("\x1b[31mError:\x1b[0m " in error.stderr) == is_coloured
    assert ("\x1b" in result.stdout) == is_coloured
    assert "Error: " in re.sub(r"\x1b\[\d*m", "", error.stderr)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_is_coloured_unless_forbidden(
    environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides is whether stdout is a terminal, NO_COLOR, and what the terminal can do."""
    import os
    import pty
    import subprocess
    import sys

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "deeploc", "contrasts", "nothing-here"]
    done = subprocess.run(command, stdout=inner, stderr=inner)
    os.close(inner)
    printed = os.read(outer, 10_000).decode()
    os.close(outer)

    assert done.returncode == 1
    assert ("\x1b[31mError:\x1b[0m" in printed) == is_coloured
    assert ("\x1b" in printed) == is_coloured


@pytest.mark.usefixtures("broken")
def test_json_is_never_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is forced: it is for programs."""
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b" not in CliRunner().invoke(main, [*WARNED, "--json"]).stdout


def test_version() -> None:
    """One line."""
    from importlib.metadata import version

    assert (
        CliRunner().invoke(main, ["--version"]).output == f"deeploc, version {version('deeploc')}\n"
    )
