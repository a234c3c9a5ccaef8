"""Vision on the command line: a run whose tasks classify, and `deeploc ablate --image`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.special import softmax

from deeploc.analysis.demonstration import continuations, guesses
from deeploc.analysis.states import Dose
from deeploc.cli import main
from deeploc.cli._console import print_guesses
from deeploc.core.examples import Guess
from deeploc.core.results import Score, from_csv
from deeploc.errors import TaskError
from deeploc.experiment import open_run
from deeploc.stimuli import Stimulus

from . import colours
from .colours import CLASSES, WEIGHTS, paint, paint_all

CONTRAST = """\
name: redness
title: Reds > greens, blues
modality: image
source: painted for the tests
conditions:
  reds: {images: reds}
  greens: {images: greens}
  blues: {images: blues}
contrast: reds > greens, blues
read: {sites: [block], pool: mean}
select: {k: 1}
ablate: {mode: zero, controls: {random: 3}}
evaluate:
  - label-stability
  - accuracy: {classes: {reds: red thing, greens: green thing}}
  - category-probe
"""


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run, its contrast and images beside it; no test changes it."""
    folder = tmp_path_factory.mktemp("redness")
    paint_all(folder, 8)
    (folder / "redness.yaml").write_text(CONTRAST)
    model = f"torch:{colours.__name__}:ColourAdapter"
    result = run("run", folder / "redness.yaml", "-m", model, "-o", folder / "run", "-q")
    assert result.exit_code == 0, result.output
    return folder / "run"


def expected(colour: tuple[int, int, int], gone: int | None) -> list[dict[str, object]]:
    """Return the five likeliest classes for a colour, worked out apart from the code."""
    seen = np.array(colour) / 255 * (np.arange(3) != gone)
    probabilities = softmax(seen @ WEIGHTS)
    best = sorted(range(7), key=lambda i: (-round(probabilities[i], 9), i))[:5]
    return [
        {"label": CLASSES[i][0], "probability": pytest.approx(probabilities[i], rel=1e-5)}
        for i in best
    ]


def test_image_is_classified_intact_ablated_and_under_a_control(
    finished: Path, tmp_path: Path
) -> None:
    """Five labels with their probabilities each time; the control silences another colour."""
    paint(tmp_path / "some.png", (250, 100, 20))
    result = run("ablate", finished, "--image", tmp_path / "some.png", "--json")
    document = json.loads(result.stdout)

    assert list(document["guesses"]) == [
        "intact",
        "ablated: 1 units of block, zero",
        "amplified: 1 units of block, scale:3",
        "control: random units, zero",
    ]
    intact, ablated, amplified, control = document["guesses"].values()
    assert document["image"] == str(tmp_path / "some.png")
    assert intact == expected((250, 100, 20), None)
    assert ablated == expected((250, 100, 20), 0)
    assert amplified[:3] == expected((750, 100, 20), None)[:3]
    assert control in [expected((250, 100, 20), other) for other in (1, 2)]


def test_the_seed_samples_the_control(finished: Path, tmp_path: Path) -> None:
    """Some of ten seeds silence green, others blue; the rest stays the same."""
    path = paint(tmp_path / "some.png", (250, 100, 20)).content
    opened = open_run(finished)
    probabilities = [
        guesses(opened, Stimulus("", path), Dose(), seed=s)["control: random units, zero"][
            0
        ].probability
        for s in range(10)
    ]

    assert len(set(probabilities)) == 2


def test_guesses_are_printed_side_by_side(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wide as the terminal: four columns, probabilities before labels."""
    monkeypatch.setenv("COLUMNS", "110")
    paint(tmp_path / "some.png", (250, 100, 20))
    lines = run("ablate", finished, "--image", tmp_path / "some.png").stdout.splitlines()
    first = expected((250, 100, 20), None)[0]

    assert lines[0].split()[0] == "intact"
    assert lines[-5].startswith(" 9")
    assert "%  red thing " in lines[-5]
    assert first["label"] == "red thing"
    assert len(lines) == 2 + 1 + 5
    assert max(map(len, lines)) <= 110


def test_long_labels_are_cut_and_missing_classes_are_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer than its column."""
    monkeypatch.setenv("COLUMNS", "44")
    print_guesses({"intact": [Guess("three-toed sloth, ai", 0.5), Guess("3", 1)], "ablated: x": []})

    assert capsys.readouterr().out.splitlines() == [
        "intact                ablated: x",
        "────────────────────  ────────────────────",
        " 50.0%  three-toed …  no class: the logits",
        "100.0%  3             are not finite",
    ]


def test_guesses_are_printed_below_each_other_where_columns_are_too_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names at the margin, guesses indented, no line longer than the terminal."""
    monkeypatch.setenv("COLUMNS", "24")
    print_guesses({"intact": [Guess("three-toed sloth, ai", 0.5), Guess("3", 1)], "ablated: x": []})

    assert capsys.readouterr().out.splitlines() == [
        "intact",
        "   50.0%  three-toed sl…",
        "  100.0%  3",
        "ablated: x",
        "  no class: the logits",
        "  are not finite",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give exactly one of --prompt TEXT and --image FILE"),
        (["--prompt", "a", "--image", "{}"], "give exactly one of --prompt TEXT and --image FILE"),
        (["--image", "{}", "--max-tokens", "40"], "--max-tokens is for --prompt; an image is only"),
        (
            ["--image", "{}", "--temperature", "0"],
            "--temperature is for --prompt; an image is only",
        ),
        (["--image", "{}/no.png"], "does not exist"),
    ],
)
def test_usage_is_checked_first(args: list[str], message: str, tmp_path: Path) -> None:
    """Before the run is opened: the folder contains none."""
    paint(tmp_path / "a.png", (1, 2, 3))
    result = run("ablate", tmp_path, *(arg.format(tmp_path / "a.png") for arg in args))

    assert result.exit_code == 2
    assert message in result.stderr


def test_broken_image_is_one_line(finished: Path, tmp_path: Path) -> None:
    """Named with its path, without a traceback."""
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing more")
    result = run("ablate", finished, "--image", tmp_path / "broken.png")

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith(f"Error: {tmp_path / 'broken.png'}: is truncated or damaged")
    assert result.stderr.count("\n") == 1


def test_mode_that_does_not_exist_is_one_line(finished: Path, tmp_path: Path) -> None:
    """The message quotes it and lists the modes."""
    path = paint(tmp_path / "a.png", (1, 2, 3)).content
    result = run("ablate", finished, "--image", path, "--mode", "zeros")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no ablation mode 'zeros'; there are 'zero', 'mean'")


def test_classifier_generates_no_text(finished: Path) -> None:
    """The error names the missing ability."""
    opened = open_run(finished)
    with pytest.raises(TaskError, match="colours cannot continue a prompt: it lacks the ability"):
        continuations(opened, "the", Dose(), max_tokens=1, temperature=0, seed=0)


def rows_of(folder: Path) -> list[str]:
    return (folder / "scores.csv").read_text().splitlines()


def test_run_with_every_task(finished: Path) -> None:
    """Scores of all three, intact and ablated, and a report of them."""
    rows = [row.split(",") for row in rows_of(finished)]
    intact = {tuple(row[:3]): float(row[6]) for row in rows if row[5] == "none"}
    top = {tuple(row[:3]): float(row[6]) for row in rows if row[5] == "selected"}

    assert intact["label-stability", "kl", "reds"] == 0
    assert intact["accuracy", "top1", "greens"] == intact["category-probe", "accuracy", "reds"] == 1
    assert top["accuracy", "top1", "reds"] == top["label-stability", "unchanged", "reds"] == 0
    assert "label-stability unchanged (reds)" in (finished / "report.html").read_text()


def test_scores_of_other_images_are_not_reused(finished: Path, tmp_path: Path) -> None:
    """A held-out image with other pixels is measured again; otherwise nothing is."""
    own = tmp_path / "own"
    shutil.copytree(finished.parent, own)
    manifest = (own / "run" / "manifest.json").read_text()
    (own / "run" / "manifest.json").write_text(manifest.replace(str(finished.parent), str(own)))
    written = (own / "run" / "scores.csv").stat().st_mtime_ns

    assert run("evaluate", own / "run", "-q").exit_code == 0
    assert (own / "run" / "scores.csv").stat().st_mtime_ns == written
    assert rows_of(own / "run") == rows_of(finished)

    held_out = open_run(own / "run").stimuli.held_out["blues"][0]
    paint(Path(held_out.content), (0, 0, 99))
    assert run("evaluate", own / "run", "-q").exit_code == 0
    kept = set(rows_of(own / "run")) & set(rows_of(finished))
    tasks = {row.partition(",")[0] for row in rows_of(own / "run")} - {"task"}
    assert {row.partition(",")[0] for row in kept} - {"task"} == {"accuracy"}
    assert len(tasks) == 3
    superseded = from_csv((own / "run" / "scores-superseded.csv").read_text())
    lost = from_csv("\n".join([rows_of(finished)[0], *(set(rows_of(finished)) - kept)]))
    assert {measured(row) for row in superseded} == {measured(row) for row in lost}


def measured(row: Score) -> tuple[str, ...]:
    """Return what a score is of; equal units have one measurement under several names."""
    return (row.task, row.metric, row.condition, row.task_key, row.key)
