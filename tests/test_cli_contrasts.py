"""The commands that help to write and to find contrasts."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.contrast.model import available, load
from deeploc.contrast.schema import contrast_schema


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty cache."""
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "empty"


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_new_contrast_is_valid_unchanged(modality: str, elsewhere: Path) -> None:
    """Its first line names the schema beside it, and it passes check."""
    made = run("new", "my-contrast", "--modality", modality)
    path = elsewhere / "my-contrast.yaml"
    first = path.read_text(encoding="utf-8").splitlines()[0]

    assert made.exit_code == 0
    assert "deeploc check my-contrast.yaml" in made.output
    assert first == "# yaml-language-server: $schema=./deeploc.schema.json"
    assert json.loads((elsewhere / "deeploc.schema.json").read_text()) == contrast_schema()
    assert run("check", "my-contrast.yaml").exit_code == 0
    assert sorted(p.name for p in elsewhere.iterdir()) == [
        "deeploc.schema.json",
        path.name,
    ]


@pytest.mark.parametrize(("modality", "model"), [("text", "lm"), ("image", "cnn")])
def test_a_new_contrast_runs_unchanged(modality: str, model: str) -> None:
    """From nothing to a verdict in two commands, without a network."""
    run("new", "first.yaml", "--modality", modality)
    options = ["--controls", "1", "--percent", "5", "--sites", "block", "--limit", "6", "-q"]
    result = run("run", "first.yaml", "-m", f"reference:{model}", "-o", "out", *options)

    assert result.exit_code == 0, result.output
    assert Path("out/report.html").exists()


def test_a_new_contrast_replaces_nothing(elsewhere: Path) -> None:
    """A file that exists stays; an old schema is replaced."""
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
        ("my contrast", "'my contrast' is not a name; use letters, digits, '_' and '-', e.g. 'my-"),
        (
            "nowhere/mine",
            "cannot write nowhere/deeploc.schema.json: No such file or directory; n",
        ),
        ("", "'.' is not a name; write e.g. `deeploc new my-contrast`"),
        ("mine.txt", "'mine.txt' is not a name; use letters, digits, '_' and '-', e.g. 'mine-txt'"),
    ],
)
def test_an_invalid_new_name_is_one_line(name: str, message: str, elsewhere: Path) -> None:
    """One line, and nothing is left behind."""
    result = run("new", name)

    assert result.exit_code == 1
    assert message in result.output
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["123", "1e5", "true", "null", "größe"])
def test_a_name_that_looks_like_something_else_stays_a_name(name: str) -> None:
    """YAML would take 123 for a number; the file must load all the same."""
    made = run("new", name)

    assert made.exit_code == 0
    assert load(f"{name}.yaml").name == name


def test_another_file_or_folder_may_be_chosen(elsewhere: Path) -> None:
    """With -o; what is to be typed next is quoted where a shell needs it."""
    (elsewhere / "folder").mkdir()
    file = run("new", "mine", "-o", "of mine.yml")
    folder = run("new", "mine", "-o", "folder")

    assert "deeploc run 'of mine.yml' -m reference:lm" in file.output
    assert "`deeploc check of mine.yml` tells" in (elsewhere / "of mine.yml").read_text()
    assert "folder/mine.yaml is written" in folder.output
    assert (elsewhere / "folder" / "deeploc.schema.json").exists()
    assert load("of mine.yml").name == load("folder/mine.yaml").name == "mine"


def test_a_file_that_could_not_be_run_is_not_written(elsewhere: Path) -> None:
    """Only .yaml and .yml are taken for contrast files by the other commands."""
    result = run("new", "mine", "-o", "mine.txt")

    assert result.exit_code == 1
    assert "mine.txt is neither a folder nor ends in .yaml or .yml" in result.output
    assert list(elsewhere.iterdir()) == []


def test_a_schema_that_is_no_text_is_replaced(elsewhere: Path) -> None:
    """Any file of that name is taken for deeploc's schema."""
    (elsewhere / "deeploc.schema.json").write_bytes(b"\xff")

    assert run("new", "mine").exit_code == 0
    assert json.loads((elsewhere / "deeploc.schema.json").read_text()) == contrast_schema()


def test_no_contrast_is_left_where_its_schema_cannot_be_written(elsewhere: Path) -> None:
    """Both files or neither."""
    (elsewhere / "deeploc.schema.json").mkdir()
    result = run("new", "mine")

    assert result.exit_code == 1
    assert "cannot write deeploc.schema.json: Is a directory" in result.output
    assert [path.name for path in elsewhere.iterdir()] == ["deeploc.schema.json"]


def test_schema_is_printed() -> None:
    """On stdout, as JSON and nothing else."""
    assert json.loads(run("schema").stdout) == contrast_schema()


def test_the_list_has_a_line_each_that_fits() -> None:
    """Every shipped contrast, within the 100 columns of no terminal, with what it needs."""
    lines = run("contrasts").output.splitlines()

    assert [line.split()[0] for line in lines[1:]] == available()
    assert max(map(len, lines)) <= 100
    assert {"faces": "download", "language": "nothing"}.items() <= {
        line.split()[0]: line.split()[2] for line in lines
    }.items()


def test_a_contrast_is_described_with_counts_and_samples() -> None:
    """Where its stimuli can be read."""
    printed = run("contrasts", "multiple-demand-paper").output
    document = json.loads(run("contrasts", "multiple-demand-paper", "--json").output)
    hard = document["stimuli"]["hard"]

    assert f"hard: {hard['n']} from {hard['origin']}\n" in printed
    assert hard["kind"] == "builtin"
    assert "licence: " in printed
    assert len(hard["samples"]) == 3
    assert all(f"    {' '.join(text.split())}"[:90] in printed for text in hard["samples"])


def test_nothing_is_downloaded_to_describe_a_contrast() -> None:
    """What is not on this machine is named, with its origin and a way without a network."""
    result = run("contrasts", "language-paper")

    assert result.exit_code == 0
    assert "sentences: download * of\nhttps://raw.githubusercontent.com/brain-score/language/" in (
        result.output
    )
    assert "27a188e1cdc/, where stim14 is S not on" in " ".join(result.output.split())
    assert "    not on this machine yet\n" in result.output
    assert "`deeploc check language-paper` downloads what" in result.output
    assert "DEEPLOC_OFFLINE" not in result.output  # it was not set by the user
    assert "DEEPLOC_OFFLINE" not in os.environ


def test_missing_stimuli_are_marked_in_json() -> None:
    """With the kind of source, and that they can be downloaded."""
    faces = json.loads(run("contrasts", "faces", "--json").output)["stimuli"]["faces"]

    assert (faces["kind"], faces["n"], faces["fetchable"]) == ("download", None, True)
    assert faces["missing"] == "not on this machine yet"


def test_an_unreadable_condition_states_why(elsewhere: Path) -> None:
    """And the others are counted; the only column of a table is its text."""
    (elsewhere / "a.csv").write_text("sentence\nhello there\ngood bye\n")
    (elsewhere / "c.csv").write_text("x,y\n1\n")
    (elsewhere / "mine.yaml").write_text(
        "name: mine\ntitle: t\nmodality: text\nsource: s\ncontrast: a > b, c\n"
        "conditions: {a: {file: a.csv}, b: {file: b.csv}, c: {file: c.csv}}\n"
    )
    result = run("contrasts", "mine.yaml")

    assert result.exit_code == 0
    assert "a: 2 from file a.csv\n    hello there\n    good bye\n" in result.output
    assert "b: file b.csv\n    no file matches 'b.csv'" in result.output
    assert "but the header has 2 columns" in " ".join(result.output.split())
    assert "downloads what" not in result.output


def test_a_folder_is_counted(elsewhere: Path) -> None:
    """--stimuli counts the stimuli of each condition in a folder."""
    header = ",".join(f"stim{i}" for i in range(2, 15))
    rows: Sequence[str] = [",".join([f"w{n}"] * 12 + ["SN"[n % 2]]) for n in range(5)]
    for number in range(10):
        name = f"langloc_fmri_run{1 + number // 5}_stim_set{1 + number % 5}.csv"
        (elsewhere / name).write_text("\n".join([header, *rows]) + "\n")
    document: dict[str, Any] = json.loads(
        run("contrasts", "language-paper", "--stimuli", ".", "--json").output
    )

    assert {name: fields["n"] for name, fields in document["stimuli"].items()} == {
        "sentences": 30,
        "nonwords": 20,
    }


def test_a_contrast_file_is_described_by_its_path() -> None:
    """Not only shipped contrasts are described."""
    run("new", "mine")

    assert "questions: 6 from the contrast file itself" in run("contrasts", "mine.yaml").output


def test_the_whole_file_is_printed_as_yaml() -> None:
    """With every default filled in."""
    whole = yaml.safe_load(run("contrasts", "language", "--yaml").output)

    assert whole["read"]["tokens"] == "content"


def test_options_of_one_contrast_need_one() -> None:
    """Without it there is a usage error."""
    result = run("contrasts", "--yaml")

    assert result.exit_code == 2
    assert "--stimuli and --yaml need the NAME of a contrast" in result.output


def test_help_lists_every_command_by_section() -> None:
    """The examples keep their lines."""
    lines = run("--help").output.splitlines()
    at = {line.split()[0]: number for number, line in enumerate(lines) if line.startswith("  ")}

    assert lines.index("Contrasts:") < at["new"] < at["schema"] < lines.index("Models and plugins:")
    assert {"run", "check", "contrasts", "plugins", "export", "import"} <= set(at)
    assert any(
        line.split() == ["deeploc", "contrasts", "the", "shipped", "contrasts"] for line in lines
    )
    assert "\\b" not in "\n".join(lines)
