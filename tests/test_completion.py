"""Shell completion: what is offered, in a real bash too, without importing anything heavy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "numpy", "pydantic", "matplotlib", "datasets"}


def complete(folder: Path, *words: str, shell: str = "bash") -> list[str]:
    """Return what is offered for the last word, in a process whose home is ``folder``."""
    code = (
        "import sys, deeploc.cli\n"
        "try: deeploc.cli.main(prog_name='deeploc')\n"
        f"finally: print(*{HEAVY!r} & sys.modules.keys(), file=sys.stderr)"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "COMP_WORDS": " ".join(["deeploc", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),  # it sends the word
        "_DEEPLOC_COMPLETE": f"{shell}_complete",
        "HF_HOME": str(folder / "hf"),
        "HOME": str(folder),
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stderr.strip() == "", done.stderr
    return [line.removeprefix("plain,") for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two runs, a contrast file, and a model in the cache of the hub."""
    for run in ("runs/first", "runs/second", "mine"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "manifest.json").write_text("{}")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "landscapes.yaml").write_text("")
    (tmp_path / "hf" / "hub" / "models--owner--small").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["report"]),
        (["doc"], ["doctor"]),
        (["run", "--dev"], ["--device", "--device-map"]),
        (["run", "language", "--sites", "mlp"], ["mlp", "mlp-neurons"]),
        (["sites", "reference:lm", "--kind", "rou"], ["router"]),
        (["run", "-m", "re"], ["reference:cnn", "reference:lm", "reference:vit"]),
        (["run", "-m", "hf"], ["hf:owner/small", "hf:"]),
        (["run", "-m", "reference", ":"], ["cnn", "lm", "vit"]),
        (["run", "--model", "reference", ":", "l"], ["lm"]),
        (["sites", "hf", ":", "own"], ["owner/small"]),
        (["run", "-m", "reference", ":", "lm", "--sites", "bl"], ["block"]),
        (["run", "faces-r"], ["faces-rendered"]),
        (["contrasts", "emotion/j"], ["emotion/joy"]),
        (["report", "runs/"], ["runs/first", "runs/second"]),
        (["compare", "mine", "r"], ["runs/first", "runs/second"]),
        (["report", "m"], ["mine"]),
        (["report", "nothing"], ["dir,nothing"]),
        (["run", "elsewhere/x"], ["file,elsewhere/x"]),
    ],
    ids=" ".join,
)
def test_what_is_offered(words: list[str], offered: list[str], folder: Path) -> None:
    """Commands, options, models, kinds of site, contrasts and runs; else files or folders."""
    assert complete(folder, *words) == offered


def test_files_of_contrasts_stand_after_the_shipped_ones(folder: Path) -> None:
    """Those of the current folder that begin alike."""
    assert complete(folder, "run", "lan")[-1] == "landscapes.yaml"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_whole_addresses(shell: str, folder: Path) -> None:
    """They do not break words at a colon."""
    words = ["run", "-m", "reference:l"]
    assert any("reference:lm" in line for line in complete(folder, *words, shell=shell))


def test_the_documented_line_works_in_bash(folder: Path) -> None:
    """In a real bash: the function is installed, and fills COMPREPLY with what follows ``:``."""
    program = Path(sys.executable).with_name("deeploc")
    if shutil.which("bash") is None or not program.exists():
        pytest.skip("needs bash and an installed deeploc")
    script = """
eval "$(_DEEPLOC_COMPLETE=bash_source deeploc)" || exit 3
complete -p deeploc
COMP_WORDS=(deeploc run language -m reference : v); COMP_CWORD=6
_deeploc_completion deeploc
echo "<${COMPREPLY[*]}>"
"""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": root}
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _deeploc_completion deeploc",
        "<vit>",
    ]
