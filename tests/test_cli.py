import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from click import Context
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.cli._results import print_results
from deeploc.cli._tasks import with_tasks
from deeploc.contrast.model import load
from deeploc.core.stats import ALPHA
from deeploc.experiment import STAGES
from deeploc.runs.difference import DifferenceStage
from deeploc.runs.folder import RunFolder
from deeploc.runs.parameters import ParametersStage
from deeploc.runs.ranking import RankingStage

from .test_report import seal

CONTEXT = Context(main)

PLAIN = [
    stage.name for stage in STAGES if stage not in (RankingStage, ParametersStage, DifferenceStage)
]
"""The stages of a run whose units are ranked by the statistic, and none of whose modes adds."""

# A shell's background jobs, and what they start, inherit that SIGINT is ignored.
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import deeploc.__main__",
]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def scores_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))


def error_of(result: Result) -> str:
    """Return the one line that a failed command printed; anything else is a bug."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    *_, line = result.stderr.rstrip("\n").split("\n")
    assert result.stderr.count("Error: ") == 1
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("command", main.list_commands(CONTEXT))
def test_every_command_has_help(command: str) -> None:
    """Every command has a description, and so has each of its options."""
    from click import Option

    loaded = main.get_command(CONTEXT, command)

    assert loaded.help
    assert all(option.help for option in loaded.params if isinstance(option, Option))


def test_help_imports_nothing_heavy() -> None:
    """`deeploc --help` imports click only."""
    code = (
        "import sys; from click.testing import CliRunner; from deeploc.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pydantic', 'matplotlib', 'yaml'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


def test_run_writes_every_artefact(finished: Path) -> None:
    """One command leaves the documented files and nothing else."""
    names = {path.name for path in finished.iterdir()}
    rows = scores_of(finished)
    manifest = json.loads((finished / "manifest.json").read_text())

    assert names == {
        "manifest.json",
        "statmap.safetensors",
        "mask.safetensors",
        "units.csv",
        "scores.csv",
        "controls.safetensors",
        "positions.safetensors",
        "profile.csv",
        "driving-stimuli.csv",
        "verdict.json",
        "examples.json",
        "report.html",
    }
    assert {row["mask"] for row in rows} == {
        "none",
        "top",
        "random-0",
        "random-1",
        "random-2",
        "bottom",
    }
    assert {row["sites"] for row in rows} == {"none", "mlp-neurons", "block"}
    assert manifest["stimuli"]["sentences"]["localize"] == 6
    assert manifest["select"]["selected"] == {"mlp-neurons": 12, "block": 3}


def test_identical_command_gives_identical_numbers(
    finished: Path, tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Another folder and batch size: the same units, the same scores but for float32 rounding."""
    again = tmp_path / "again"
    run("run", contrast_file, "-m", f"hf:{tiny_lm}", "-o", again, "-q", "--batch-size", "5")

    assert (finished / "mask.safetensors").read_bytes() == (again / "mask.safetensors").read_bytes()
    values = [[float(row["value"]) for row in scores_of(f)] for f in (finished, again)]
    # a log-probability of 20 nats carries 1e-6 in float32, a margin is a difference of two
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)


def test_finished_run_is_reused(finished: Path, tiny_lm: Path, shared_contrast: Path) -> None:
    """The same command measures nothing again and writes nothing."""
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    result = run("run", shared_contrast, "-m", f"hf:{tiny_lm}", "-o", finished)

    stages = ", ".join(PLAIN)
    assert f"up to date, reused: {stages}\n" in result.stderr
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before


def test_moved_model_is_the_same_model(
    finished: Path, tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """Where a checkpoint lies does not matter; what is in it does."""
    moved = tmp_path / "moved"
    shutil.copytree(tiny_lm, moved)
    result = run("run", shared_contrast, "-m", f"hf:{moved}", "-o", finished)

    stages = ", ".join(PLAIN).partition(", verdict")[0]
    assert f"up to date, reused: {stages}" in result.stderr


def test_other_inputs_are_refused_unless_overwritten(
    finished: Path, tiny_lm: Path, contrast_file: Path
) -> None:
    """Another stimulus under the same name: refused, nothing changed; or the run is replaced."""
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    sentences = contrast_file.parent / "sentences.txt"
    sentences.write_text(sentences.read_text().replace("the", "a"))
    args = ("localize", contrast_file, "-m", f"hf:{tiny_lm}", "-o", finished)

    assert error_of(run(*args)) == (
        f"{finished} holds a run with other inputs: stimuli (sentences); choose another folder "
        "with -o, or replace that run with --overwrite"
    )
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before

    assert run(*args, "--overwrite").exit_code == 0
    assert (finished / "statmap.safetensors").read_bytes() != before["statmap.safetensors"]
    assert not (finished / "report.html").exists()
    assert (finished / "scores-superseded.csv").read_bytes() == before["scores.csv"]


def test_evaluate_adds_doses(finished: Path) -> None:
    """A further dose joins the scores; those that were there stay."""
    before = set((finished / "scores.csv").read_text().splitlines())
    result = run(
        "evaluate", finished, "--percent", 25, "--mode", "scale:0.5", "--controls", 2, "-q"
    )
    after = set((finished / "scores.csv").read_text().splitlines())

    assert result.exit_code == 0, result.output
    assert before < after
    assert {line.split(",")[3] for line in after - before} == {"scale:0.5"}
    assert {line.split(",")[4] for line in after - before} == {"25.0"}


def test_a_named_task_keeps_its_options(finished: Path, shared_contrast: Path) -> None:
    """--task measures one task of the contrast as the contrast has it; a file replaces its items;
    a name that the contrast lacks is a task without options."""
    before = set((finished / "scores.csv").read_text().splitlines())
    manifest = json.loads((finished / "manifest.json").read_text())
    known = manifest["evaluate"]["tasks"]["minimal-pairs"]
    result = run("evaluate", finished, "--task", "minimal-pairs", "--json", "-q")
    after = json.loads((finished / "manifest.json").read_text())["evaluate"]["tasks"]
    contrast = load(str(shared_contrast))

    assert result.exit_code == 0, result.output
    assert after["minimal-pairs"]["key"] == known["key"]
    assert set((finished / "scores.csv").read_text().splitlines()) == before
    assert with_tasks(contrast, ["minimal-pairs"]).tasks == [
        task for task in contrast.tasks if task[0] == "minimal-pairs"
    ]
    assert with_tasks(contrast, []) is contrast
    assert with_tasks(contrast, ["choice"]).tasks == [("choice", {})]


def test_json_is_one_document(finished: Path) -> None:
    """stdout is one JSON document."""
    document = json.loads(run("evaluate", finished, "--json", "-q", "-v").stdout)
    effects = document["effects"]

    assert {e["task"] for e in effects} == {"perplexity", "minimal-pairs"}
    assert all(0 < e["p"] <= 1 for e in effects)
    assert len(document["profile"]["responses"]) == 12


def test_run_prints_the_profile(finished: Path, tiny_lm: Path, shared_contrast: Path) -> None:
    """A row per kind and condition, then the held-out test; within 80 columns."""
    result = run("run", shared_contrast, "-m", f"hf:{tiny_lm}", "-o", finished, "-q", "-v")
    table = result.stdout[result.stdout.index("response to held-out stimuli") :].splitlines()

    assert table[1].split() == ["sites", "condition", "selected", "units", "random", "units"]
    assert [line.split()[:2] for line in table[2:6]] == [
        [kind, condition]
        for kind in ("mlp-neurons", "block")
        for condition in ("sentences", "lists")
    ]
    assert table[7] == "contrast on held-out stimuli"
    assert re.match(r"mlp-neurons +t\([\d.]+\) = .*, p . .*, d = .* t = .*, d = ", table[9])
    assert max(map(len, table[:11])) <= 80


def test_localize_prints_the_profile(tiny_lm: Path, contrast_file: Path, tmp_path: Path) -> None:
    """Without a split it is marked as not held out; --json has every number."""
    args = ("localize", contrast_file, "-m", f"hf:{tiny_lm}", "-o", tmp_path / "r", "-q")
    plain = run(*args, "--set", "split=none")
    printed = json.loads(run(*args, "--json", "--overwrite").stdout)
    profile = printed["profile"]

    assert "response to the localizing stimuli (not held out), units standardized" in plain.stdout
    assert "contrast on the localizing stimuli (not held out)" in plain.stdout
    assert printed["statistic"] == "welch"
    assert profile["held_out"]
    assert len(profile["responses"]) == 12
    assert {e["units"] for e in profile["effects"]} == {"selected", "random", "all"}


def write_perplexity(run: Path, conditions: Iterable[str], masks: Iterable[str]) -> None:
    """Replace the scores of a run: 1 intact, 2 with a mask ablated, 1.5 under its one control."""
    manifest = json.loads((run / "manifest.json").read_text())
    task_key = manifest["evaluate"]["tasks"]["perplexity"]["key"]
    cells = [("none", "none", "", 1.0)]
    for mask in masks:
        cells += [(mask, mask, "", 2.0), ("random-0", "random", mask, 1.5)]
    rows = [
        f"perplexity,perplexity,{c},zero,10.0,{mask},{value},6,1.0,1.0,block,k,{task_key},{of},{kind},"
        for c in conditions
        for mask, kind, of, value in cells
    ]
    path = run / "scores.csv"
    head = path.read_text().splitlines()[0]
    path.write_text("\n".join([head, *rows]) + "\n")
    seal(run)


@pytest.mark.parametrize(
    ("masks", "titles"),
    [
        (["top"], ["block, zero ablation, 10 %"]),
        (["selected"], ["block, zero ablation, 10 %"]),
        (
            ["selected", "top"],
            [
                "block, zero ablation, selected units, 10 %",
                "block, zero ablation, top units, 10 %",
            ],
        ),
    ],
)
def test_the_selection_and_a_dose_have_separate_tables(
    finished: Path, capsys: pytest.CaptureFixture[str], masks: list[str], titles: list[str]
) -> None:
    """Titles name the mask only where a run has both; every line fits 80 columns."""
    write_perplexity(finished, ["sentences"], masks)
    print_results(RunFolder(finished), as_json=False, verbose=True)
    lines = capsys.readouterr().out.splitlines()

    assert [line for line in lines if "ablation" in line] == titles
    assert [line.split() for line in lines if line.startswith("  sentences")] == [
        ["sentences", "1.00", "2.00", "1.50", "[1.50,", "1.50]", "-", "0.50"]
    ] * len(masks)
    assert max(len(line) for line in lines if str(finished) not in line) <= 80


def test_the_number_of_controls_for_a_verdict_is_printed(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one control p cannot fall to the level; the line names the smallest number that can."""
    write_perplexity(finished, ["sentences"], ["top"])
    print_results(RunFolder(finished), as_json=False, verbose=True)
    text = " ".join(capsys.readouterr().out.split())
    needed = next(n for n in range(1, 100) if 1 / (1 + n) <= ALPHA)

    assert f"only with at least {needed} matched random controls (--controls)" in text


def test_run_ends_in_one_screen(finished: Path, tiny_lm: Path, shared_contrast: Path) -> None:
    """Six questions a network, within 80 columns and 26 lines; the tables only with -v."""
    args = ("run", shared_contrast, "-m", f"hf:{tiny_lm}", "-o", finished, "-q")
    short, full = run(*args).stdout.splitlines(), run(*args, "-v").stdout

    assert len(short) <= 26
    assert max(len(line) for line in short if str(finished) not in line) <= 80
    questions = [
        line.split()[0]
        for line in short
        if re.match(r"  [a-z]+ +(yes|no|partly|\N{EN DASH})", line)
    ]
    asked = ["selective", "reliable", "causal", "specific", "robust", "trained"]
    assert questions == asked * 2
    assert not any("verdict" in line and "dose" in line for line in short)
    assert "ablation" in full
    assert "response to held-out stimuli" in full


def test_verbose_lists_every_condition(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables have a row for each condition of a task."""
    write_perplexity(finished, ("sentences", "x", "y", "z"), ["top"])
    print_results(RunFolder(finished), as_json=False, verbose=True)
    full = capsys.readouterr().out

    assert re.search("^  x ", full, re.MULTILINE)
    assert "others" not in full


def test_ablate_shows_each_state(finished: Path) -> None:
    """Intact, ablated, amplified and control continuations; the same seed gives the same text."""
    args = ("ablate", finished, "--prompt", "the cat", "--max-tokens", 5, "--temperature", 0.9)
    first, again = run(*args, "--seed", 3, "--json"), run(*args, "--seed", 3, "--json")
    texts = json.loads(first.stdout)["continuations"]

    assert list(texts) == [
        "intact",
        "ablated: 12 units of mlp-neurons, zero",
        "amplified: 12 units of mlp-neurons, scale:3",
        "control: random units, zero",
    ]
    assert first.stdout == again.stdout
    assert "intact" in run(*args).stdout


def test_run_folder_is_named_after_contrast_and_model(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -o a run goes to runs/CONTRAST-MODEL below the current folder."""
    monkeypatch.chdir(tmp_path)

    assert run("localize", contrast_file, "-m", f"hf:{tiny_lm}/", "-q").exit_code == 0
    assert (tmp_path / "runs" / f"words-{tiny_lm.name}" / "manifest.json").exists()


def test_export_import_round_trip(finished: Path, tiny_lm: Path, contrast_file: Path) -> None:
    """A mask that leaves as a matrix comes back as the same units, ready to evaluate."""
    matrix = finished.parent / "mask.npy"
    assert run("export", finished, "-o", matrix).exit_code == 0
    target = finished.parent / "imported"
    args = ("import", matrix, "--contrast", contrast_file, "-m", f"hf:{tiny_lm}", "-o", target)
    imported = run(*args, "-q")

    assert imported.exit_code == 0, imported.output
    assert np.load(matrix).shape == (2, 16)
    assert "imported 3 units" in imported.stdout
    assert run("evaluate", target, "-q").exit_code == 0


def test_sites_lists_what_can_be_ablated(tiny_lm: Path) -> None:
    """A tree with kind, units and shape of each site; as JSON the site table."""
    text = run("sites", f"hf:{tiny_lm}", "-v").stdout
    table = json.loads(run("sites", f"hf:{tiny_lm}", "--json").stdout)
    named = {(row["name"], row["kind"], row["n_units"]) for row in table}

    assert text.splitlines()[0].split() == ["site", "kind", "units", "shape"]
    assert ("transformer.h.0", "block", 16) in named
    assert ("transformer.h.1.mlp.c_proj:input", "mlp-neurons", 64) in named
    assert max(map(len, text.splitlines())) <= 80


def test_check_lists_the_stimuli_of_a_file(contrast_file: Path) -> None:
    """Counts of both halves and a sample."""
    result = run("check", contrast_file)

    assert result.exit_code == 0
    assert "words.yaml: valid; tasks: perplexity, minimal-pairs" in result.stdout


def edited(contrast_file: Path, old: str, new: str) -> Path:
    text = contrast_file.read_text()
    assert old in text
    contrast_file.write_text(text.replace(old, new))
    return contrast_file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "contrast: ",
            "contrst: ",
            "words.yaml:8: unknown key 'contrst'; did you mean 'contrast'?",
        ),
        ("{file: sentences.txt}", "{texts: []}", "words.yaml:6: "),
        (
            "{file: sentences.txt}",
            "{texts: [one]}",
            "only 1 stimulus; a variance needs",
        ),
        ("column: text", "column: txt", "no column 'txt'"),
        ("sentences.txt", "nowhere.txt", "nowhere.txt"),
        ("percent: 10}", "percent: 140}", "words.yaml:10"),
        ("mode: [zero, mean]", "mode: [zeros]", "words.yaml:11"),
        ("- perplexity", "- perplexty", "did you mean 'perplexity'?"),
        ("sentences > lists", "sentences > list", "did you mean 'lists'?"),
    ],
)
def test_bad_contrast_is_one_line_and_leaves_nothing(
    tiny_lm: Path, contrast_file: Path, old: str, new: str, message: str
) -> None:
    """The line names the place and what would be right; no folder is left behind."""
    target = contrast_file.parent / "out"
    bad = edited(contrast_file, old, new)

    assert message in error_of(run("run", bad, "-m", f"hf:{tiny_lm}", "-o", target, "-q"))
    assert not target.exists()


def test_bad_model_is_one_line_and_leaves_nothing(contrast_file: Path, tiny_lm: Path) -> None:
    """No adapter, an unknown one, no such folder, a folder without weights or tokenizer."""
    target = contrast_file.parent / "out"
    bare = contrast_file.parent / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((tiny_lm / name).read_bytes())

    def error(model: str) -> str:
        return error_of(run("run", contrast_file, "-m", model, "-o", target, "-q"))

    assert "write ADAPTER:NAME" in error("gpt2")
    assert "no plugin named 'hff' in deeploc.adapters; did you mean 'hf'?" in error("hff:gpt2")
    assert "nowhere" in error(f"hf:{bare.parent / 'nowhere'}")
    assert "tokenizer" in error(f"hf:{bare}")
    assert not target.exists()


@pytest.mark.parametrize(
    ("contrast", "model", "shown", "read"),
    [("language", "reference:cnn", "texts", "images"),
     ("faces-rendered", "reference:lm", "images", "texts")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "localize"])
def test_stimuli_of_the_other_kind_are_refused(
    command: str, contrast: str, model: str, shown: str, read: str, tmp_path: Path
) -> None:
    """What the contrast shows and what the model reads is said before any task or read-out is."""
    args = (command, contrast, "-m", model, "-o", tmp_path / "r", "--limit", 4, "-q")

    assert f"the contrast shows {shown}, and {model} reads {read}" in error_of(run(*args))
    assert not (tmp_path / "r").exists()


def test_mask_for_another_model_is_refused(contrast_file: Path, tiny_lm: Path) -> None:
    """Importing a mask of other shape names both shapes."""
    np.save(contrast_file.parent / "other.npy", np.ones((5, 16)))
    target = contrast_file.parent / "out"
    args = ("--contrast", contrast_file, "-m", f"hf:{tiny_lm}", "-o", target, "-q")

    assert "(5, 16)" in error_of(run("import", contrast_file.parent / "other.npy", *args))
    assert not target.exists()


def test_run_of_other_weights_is_refused(finished: Path) -> None:
    """A run is not evaluated on a model it was not localized on."""
    manifest = json.loads((finished / "manifest.json").read_text())
    manifest["localize"]["inputs"]["model"]["weights"] = "0" * 64
    (finished / "manifest.json").write_text(json.dumps(manifest))

    assert "model (weights) changed" in error_of(run("evaluate", finished, "-q"))


def test_unwritable_output_is_reported_before_the_work(contrast_file: Path, tiny_lm: Path) -> None:
    """A path below a file cannot be a folder."""
    target = contrast_file / "run"

    assert "cannot write" in error_of(
        run("run", contrast_file, "-m", f"hf:{tiny_lm}", "-o", target)
    )


def test_folder_of_other_files_is_left_alone(contrast_file: Path, tiny_lm: Path) -> None:
    """A run is never written into a folder with other files."""
    target = contrast_file.parent

    assert "holds other files" in error_of(
        run("localize", contrast_file, "-m", f"hf:{tiny_lm}", "-o", target)
    )


@pytest.mark.slow
def test_interrupted_run_is_one_line_and_continues(tiny_lm: Path, contrast_file: Path) -> None:
    """Ctrl-C gives one line and exit code 1; the same command finishes with the same scores."""
    target, whole = contrast_file.parent / "cut", contrast_file.parent / "whole"
    args = ["run", str(contrast_file), "-m", f"hf:{tiny_lm}", "--controls", "120", "-q", "-o"]
    process = subprocess.Popen([*INTERRUPTIBLE, *args, target], stderr=subprocess.PIPE, text=True)
    while not (target / "scores.csv").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    kept = len((target / "scores.csv").read_text().splitlines())
    assert process.returncode == 1
    assert "Error: interrupted; " in stderr
    assert "Traceback" not in stderr
    assert not list(target.glob("*.part"))

    for folder in (target, whole):
        assert run(*args, folder).exit_code == 0
    assert 1 < kept < len((whole / "scores.csv").read_text().splitlines())
    rows = [sorted((f / "scores.csv").read_text().splitlines()) for f in (target, whole)]
    assert rows[0] == rows[1]


def test_untrained_control_is_seeded(tiny_lm: Path, contrast_file: Path, tmp_path: Path) -> None:
    """Random weights of the same architecture, decided by the seed, not those of the model."""

    def statistics(name: str, *options: object) -> bytes:
        target = tmp_path / name
        args = ("localize", contrast_file, "-m", f"hf:{tiny_lm}", "-o", target, "-q", *options)
        assert run(*args, "--set", "split=none").exit_code == 0
        return (target / "statmap.safetensors").read_bytes()

    trained = statistics("trained")
    first, again, other = (
        statistics(name, "--untrained", "--seed", seed)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )

    assert first == again
    assert len({trained, first, other}) == 3


def test_interruption_while_localizing_leaves_nothing(tiny_lm: Path, contrast_file: Path) -> None:
    """Ctrl-C before anything was written: one line, and no folder half made."""
    target = contrast_file.parent / "cut"
    lines = ["the cat sees a dog", "a bird chases the cat"] * 20_000
    (contrast_file.parent / "sentences.txt").write_text("\n".join(lines))
    args = [*INTERRUPTIBLE, "localize", str(contrast_file), "-m", f"hf:{tiny_lm}"]
    process = subprocess.Popen(
        [*args, "-o", str(target), "--batch-size", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not target.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert stderr.strip().splitlines()[-1].startswith("Error: interrupted; ")
    assert "Traceback" not in stderr
    assert not target.exists()
