"""`deeploc dissociate` on two runs of one model."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeploc.dissociate import default_folder, dissociate_runs
from deeploc.errors import RunError
from deeploc.progress import OnProgress
from deeploc.report.dissociation import render
from deeploc.runs.folder import RunFolder

from .conftest import REAL, UNREAL
from .test_cli import error_of, run
from .test_report import Page


def write_contrast(folder: Path, name: str, positive: str, negative: str) -> Path:
    """Write a contrast of two kinds of words; one of its tasks is the same whatever the sides."""
    rng = np.random.default_rng(5)
    texts = {
        kind: [" ".join(rng.permutation(words)[:5]) for _ in range(12)]
        for kind, words in (("real", REAL), ("unreal", UNREAL))
    }
    tasks: list[dict[str, object]] = [
        {"perplexity": {kind: {"texts": some[:6]} for kind, some in texts.items()}}
    ]
    if name == "second":
        tasks.append({"continuation": {"copying": {"builtin": "copying", "limit": 4}}})
    contrast = {
        "name": name,
        "title": f"{positive} > {negative}",
        "modality": "text",
        "source": "made up for the tests",
        "conditions": {kind: {"texts": some} for kind, some in texts.items()},
        "contrast": f"{positive} > {negative}",
        "read": {"sites": ["mlp-neurons", "block"], "pool": "last"},
        "select": {"percent": 10},
        "ablate": {"mode": "zero", "controls": {"random": 3}},
        "evaluate": tasks,
        "verdict": {"primary": f"perplexity/perplexity/{positive}", "controls": 3},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(contrast), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two runs of one model, whose contrasts are the reverse of each other."""
    folder = tmp_path_factory.mktemp("two-runs")
    first = write_contrast(folder, "first", "real", "unreal")
    second = write_contrast(folder, "second", "unreal", "real")
    for path in (first, second):
        args = ("run", path, "-m", f"hf:{tiny_lm}", "-o", path.with_suffix(""), "-q")
        assert run(*args).exit_code == 0
    return first.with_suffix(""), second.with_suffix("")


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))


def test_every_mask_meets_every_task(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Intact, two masks and their sets at each kind of site, on the tasks of both, once each."""
    target = tmp_path / "out"
    result = run("dissociate", *runs, "-o", target, "--controls", 3, "-q")
    rows = rows_of(target)
    masks = {(row["mask_of"], row["sites"], row["mask"]) for row in rows}
    tasks = {(row["task_of"], row["task"], row["condition"]) for row in rows}

    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80 + len(str(target))
    assert {path.name for path in target.iterdir()} == {
        "dissociation.json",
        "scores.csv",
        "dissociation.html",
    }
    assert masks == {("none", "none", "none")} | {
        (of, kind, mask)
        for of in ("first", "second")
        for kind in ("mlp-neurons", "block")
        for mask in ("selected", "random-0", "random-1", "random-2")
    }
    assert tasks == {
        ("first", "perplexity", "real"),
        ("first", "perplexity", "unreal"),
        ("second", "continuation", "copying"),
    }
    assert len(rows) == len({(*row.values(),) for row in rows}) == 17 * (4 + 2)


def test_the_table_and_the_answers_are_printed(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Values with z by kind of site; three sets are too few to affirm anything for two kinds."""
    target = tmp_path / "out"
    args = ("dissociate", *runs, "-o", target, "--controls", 3, "-q")
    lines = run(*args).stdout.splitlines()
    document = json.loads(run(*args, "--json").stdout)
    neurons = document["kinds"]["mlp-neurons"]
    outcomes = neurons["masks"]["first"]["outcomes"]
    single = neurons["single"]["first"]

    assert lines[0] == "tasks of first"
    assert [line for line in lines if line.startswith("  first ")]
    assert "39 random sets" not in " ".join(lines)
    assert "3 random sets are too few to affirm it (--controls 39)" in " ".join(
        " ".join(lines).split()
    )
    assert neurons["double"]["answer"] == "not asked"
    assert [(o["condition"], o["metric"]) for o in outcomes] == [
        ("real", "perplexity"),
        ("unreal", "perplexity"),
        ("copying", "exact-match"),
    ]
    assert single["difference"] == pytest.approx(outcomes[0]["z"] - outcomes[1]["z"])
    assert document == json.loads((target / "dissociation.json").read_text()) | {
        "folder": str(target)
    }


def test_scores_of_the_runs_are_used_again(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """To the last bit: measured in other batches they would differ by rounding."""
    dissociate_runs(runs, tmp_path / "out", controls=3)
    known = {
        (row.task_key, row.metric, row.condition, row.key): repr(row.value)
        for path in runs
        for row in RunFolder(path).read_scores()
    }
    made = {
        (row["task_key"], row["metric"], row["condition"], row["key"]): row["value"]
        for row in rows_of(tmp_path / "out")
    }
    shared = known.keys() & made.keys()

    assert len(shared) > len(made) / 2
    assert {key: known[key] for key in shared} == {key: made[key] for key in shared}


class Interrupting:
    """A reporter whose user gives up after some ablations."""

    def __init__(self, after: int) -> None:
        self.left = after

    def note(self, text: str) -> None:
        """Nobody reads it."""

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[OnProgress]:
        assert (label, total) == ("dissociating", 1 + 4 * (1 + 5))

        def on_progress(steps: int) -> None:
            self.left -= steps
            if self.left <= 0:
                raise KeyboardInterrupt

        yield on_progress


def test_interrupted_work_resumes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """What was saved is used again, even by a second attempt that gets less far."""
    target, whole = tmp_path / "out", tmp_path / "whole"
    for after, n_saved in ((15, 15), (6, 15)):
        with pytest.raises(KeyboardInterrupt):
            dissociate_runs(runs, target, reporter=Interrupting(after), controls=5)
        cells = {(row["mask_of"], row["sites"], row["mask"]) for row in rows_of(target)}
        assert len(cells) == n_saved
    table = (target / "scores.csv").read_text().splitlines()
    marked = [_with_value(line, "12.5") if ",random-1," in line else line for line in table]
    (target / "scores.csv").write_text("\n".join(marked) + "\n")

    dissociate_runs(runs, target, controls=5)
    dissociate_runs(runs, whole, controls=5)
    resumed, undisturbed = rows_of(target), rows_of(whole)
    random = {row["key"] for row in resumed if row["mask"] == "random-1"}
    changed = [a for a, b in zip(resumed, undisturbed, strict=True) if a != b]

    assert changed
    assert {row["value"] for row in changed} == {"12.5"}
    assert {row["key"] for row in changed} <= random  # small sets may be equal


def _with_value(line: str, value: str) -> str:
    """Return a row of scores.csv with another value."""
    fields = line.split(",")
    return ",".join([*fields[:8], value, *fields[9:]])


def test_the_page_is_whole_and_loads_nothing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Every tag is closed; the matrix and the answers are there; equal results, equal bytes."""
    made = dissociate_runs(runs, tmp_path / "out", controls=3)
    html = (tmp_path / "out" / "dissociation.html").read_text(encoding="utf-8")
    page = Page(html)
    regions = [dict(attributes).get("aria-label") for _, attributes in page.tags]

    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    assert {"tasks of first", "tasks of second"} <= set(regions)
    assert (
        "mlp-neurons: whether the dissociation is double is not known: the smaller difference is"
        in page.text
    )
    assert render(made) == html


def test_other_models_are_refused(runs: tuple[Path, Path], tiny_lm: Path, tmp_path: Path) -> None:
    """Two runs of different weights have no lesion matrix."""
    contrast = write_contrast(tmp_path, "third", "real", "unreal")
    other = tmp_path / "third"
    args = ("localize", contrast, "-m", f"hf:{tiny_lm}", "-o", other, "-q", "--untrained")
    assert run(*args).exit_code == 0

    message = error_of(run("dissociate", runs[0], other, "-o", tmp_path / "out"))

    assert message.startswith(f"{runs[0]} and {other} are runs of different models: they differ in")
    assert message.endswith("a dissociation needs two contrasts in one model")
    assert not (tmp_path / "out").exists()


def test_runs_without_a_common_kind_are_refused(tiny_lm: Path, tmp_path: Path) -> None:
    """Masks are compared at sites of one kind."""
    folders = {kind: tmp_path / kind for kind in ("mlp-neurons", "block")}
    contrast = write_contrast(tmp_path, "third", "real", "unreal")
    for kind, folder in folders.items():
        args = ("localize", contrast, "-m", f"hf:{tiny_lm}", "-o", folder, "-q", "--sites", kind)
        assert run(*args).exit_code == 0
    first, second = folders.values()

    with pytest.raises(RunError, match="no kind of site in common: mlp-neurons against block; loc"):
        dissociate_runs((first, second), tmp_path / "out")


def test_a_run_folder_is_no_place_for_a_dissociation(runs: tuple[Path, Path]) -> None:
    """Nothing of a run is overwritten."""
    before = (runs[0] / "scores.csv").read_bytes()

    with pytest.raises(RunError, match="holds other files"):
        dissociate_runs(runs, runs[0], controls=3)
    assert (runs[0] / "scores.csv").read_bytes() == before


def test_a_broken_table_is_an_error(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """One line that says what to do."""
    (tmp_path / "scores.csv").write_text("a\nb\n")

    with pytest.raises(RunError, match="is broken: its first columns are not mask_of, task_of"):
        dissociate_runs(runs, tmp_path, controls=3)


def test_the_default_folder_names_both_runs() -> None:
    """Where commands are run, the folder of results is found by the names of the runs."""
    assert default_folder(Path("a/x/"), Path("y")) == Path("runs/dissociate-x-y")
