"""The commands that help to write and to find contrasts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.contrast import available
from deeploc.schema import contrast_schema


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty cache."""
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_new_contrast_is_valid_as_it_is(modality: str, elsewhere: Path) -> None:
    """It names the schema on its first line, which lies beside it, and passes check."""
    made = run("new", "my-contrast", "--modality", modality)
    path = elsewhere / "my-contrast.yaml"
    first = path.read_text(encoding="utf-8").splitlines()[0]

    assert made.exit_code == 0
    assert "deeploc check my-contrast.yaml" in made.output
    assert first == "# yaml-language-server: $schema=./deeploc.schema.json"
    assert json.loads((elsewhere / "deeploc.schema.json").read_text()) == contrast_schema()
    assert run("check", "my-contrast.yaml").exit_code == 0
    assert sorted(p.name for p in elsewhere.iterdir()) == ["deeploc.schema.json", path.name]


@pytest.mark.parametrize(("modality", "model"), [("text", "lm"), ("image", "cnn")])
def test_a_new_contrast_runs_as_it_is(modality: str, model: str) -> None:
    """From nothing to a verdict in two commands, without a network."""
    run("new", "first.yaml", "--modality", modality)
    options = ["--controls", "1", "--percent", "5", "--sites", "block", "--limit", "6", "-q"]
    result = run("run", "first.yaml", "-m", f"reference:{model}", "-o", "out", *options)

    assert result.exit_code == 0, result.output
    assert Path("out/report.html").exists()


def test_a_new_contrast_replaces_nothing(elsewhere: Path) -> None:
    """What a person has written stays; an old schema is renewed."""
    (elsewhere / "mine.yaml").write_text("kept")
    (elsewhere / "deeploc.schema.json").write_text("old")
    refused = run("new", "mine")
    run("new", "other")

    assert refused.exit_code == 1
    assert "mine.yaml exists already; choose another name, or remove it" in refused.output
    assert (elsewhere / "mine.yaml").read_text() == "kept"
    assert json.loads((elsewhere / "deeploc.schema.json").read_text()) == contrast_schema()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my contrast", "'my contrast' is no name; use letters, digits, '_' and '-', e.g. 'my-"),
        ("nowhere/mine", "cannot write nowhere/mine.yaml: No such file or directory; name a fol"),
    ],
)
def test_faults_of_a_new_name_are_told(name: str, message: str, elsewhere: Path) -> None:
    """One line, and nothing is left behind."""
    result = run("new", name)

    assert result.exit_code == 1
    assert message in result.output
    assert list(elsewhere.iterdir()) == []


def test_schema_is_printed() -> None:
    """On stdout, as JSON and nothing else."""
    assert json.loads(run("schema").stdout) == contrast_schema()


def test_the_list_has_a_line_each_that_fits() -> None:
    """Every shipped contrast, within the 100 columns of no terminal, with what it needs."""
    lines = run("contrasts").output.splitlines()

    assert [line.split()[0] for line in lines[1:]] == available()
    assert max(map(len, lines)) <= 100
    assert {"faces": "download", "language": "-"}.items() <= {
        line.split()[0]: line.split()[2] for line in lines
    }.items()


def test_a_contrast_is_shown_with_counts_and_samples() -> None:
    """Where its stimuli are at hand."""
    shown = run("contrasts", "language").output
    told = json.loads(run("contrasts", "language", "--json").output)

    assert "sentences: 240 from builtin sentences\n" in shown
    assert "licence: MIT" in shown
    assert told["stimuli"]["nonwords"]["n"] == 240
    assert all(f"    {text}\n" in shown for text in told["stimuli"]["nonwords"]["samples"])


def test_nothing_is_fetched_to_show_a_contrast() -> None:
    """What is not here is named, with where it comes from and how to do without a network."""
    result = run("contrasts", "language-paper")

    assert result.exit_code == 0
    assert "sentences: download https://raw.githubusercontent.com/brain-score/language/" in (
        result.output
    )
    assert "not here yet: " in result.output
    assert "--stimuli DIR" in " ".join(result.output.split())


def test_a_folder_is_counted(elsewhere: Path) -> None:
    """--stimuli shows what a folder holds for each condition."""
    header = ",".join(f"stim{i}" for i in range(2, 15))
    rows: Sequence[str] = [",".join([f"w{n}"] * 12 + ["SN"[n % 2]]) for n in range(5)]
    for number in range(10):
        name = f"langloc_fmri_run{1 + number // 5}_stim_set{1 + number % 5}.csv"
        (elsewhere / name).write_text("\n".join([header, *rows]) + "\n")
    told: dict[str, Any] = json.loads(
        run("contrasts", "language-paper", "--stimuli", ".", "--json").output
    )

    assert {c: held["n"] for c, held in told["stimuli"].items()} == {
        "sentences": 30,
        "nonwords": 20,
    }


def test_own_files_are_shown_too() -> None:
    """By the path of a contrast file."""
    run("new", "mine")

    assert "questions: 6 from the contrast file itself" in run("contrasts", "mine.yaml").output


def test_the_whole_file_is_printed_as_yaml() -> None:
    """With every default filled in."""
    whole = yaml.safe_load(run("contrasts", "language", "--yaml").output)

    assert whole["read"]["tokens"] == "content"


def test_options_of_one_contrast_need_one() -> None:
    """A usage error says so."""
    result = run("contrasts", "--yaml")

    assert result.exit_code == 2
    assert "--stimuli and --yaml go with the NAME of a contrast" in result.output
