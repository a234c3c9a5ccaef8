import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from deeploc import entry_points as named
from deeploc import plugins
from deeploc.errors import AdapterError, PluginError

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"

CONTRAST = """\
name: vowels
title: Vowels > consonants
modality: text
source: made up for the tests
conditions:
  vowels: {builtin: letters, limit: 8}
  consonants: {builtin: {generator: letters, alphabet: bcdfg, seed: 1}, limit: 8}
contrast: vowels > consonants
statistic: mean-difference
read: {pool: mean}
ablate: {controls: {random: 2, any-units: 2}}
evaluate: [vowels]
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment with the example package installed, one of its plugins broken."""
    source = tmp_path_factory.mktemp("foreign") / "plugin"
    shutil.copytree(EXAMPLE, source)
    declared = (source / "pyproject.toml").read_text()
    group = '[project.entry-points."deeploc.adapters"]\n'
    broken = declared.replace(group, group + 'broken = "deeploc_letters_gone:load"\n')
    (source / "pyproject.toml").write_text(broken)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(target)}


def deeploc(environment: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deeploc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_foreign_model_and_task_run(foreign: dict[str, str], tmp_path: Path) -> None:
    """Somebody else's architecture goes through every step with no line of deeploc changed."""
    (tmp_path / "vowels.yaml").write_text(CONTRAST)
    place = ("-m", "letters:small", "-o", tmp_path / "run", "-q")
    localized = deeploc(foreign, "localize", tmp_path / "vowels.yaml", *place)
    whole = deeploc(foreign, "run", tmp_path / "vowels.yaml", *place, "--percent", 10)

    assert localized.returncode == 0, localized.stderr
    assert "blocks.1  block" in localized.stdout
    assert whole.returncode == 0, whole.stderr
    scores = (tmp_path / "run" / "scores.csv").read_text()
    assert "vowels" in scores
    assert "any-units-1" in scores
    assert "ranked by mean-difference" in localized.stdout


def test_broken_plugin_does_not_affect_others(foreign: dict[str, str]) -> None:
    """The error for a plugin that cannot be imported names its package; others work."""
    listed = deeploc(foreign, "plugins")
    used = deeploc(foreign, "sites", "broken:x")

    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    state = {tuple(line.split()[:2]): line.split()[2:] for line in lines}
    mine = {
        *(("adapters", "letters"), ("tasks", "vowels"), ("statistics", "mean-difference")),
        *(("controls", "any-units"), ("generators", "letters")),
    }
    assert {name: state[name] for name in mine} == {
        name: ["0.1", "deeploc-letters", "ok"] for name in mine
    }
    assert state["adapters", "broken"] == ["0.1", "deeploc-letters", "broken"]
    assert [line[:25] for line in lines if line.startswith("warning")] == [
        "warning: adapters broken:"
    ]
    assert max(map(len, lines)) <= 80
    assert used.returncode == 1
    assert used.stderr.startswith(
        "Error: plugin 'broken' (deeploc-letters 0.1, deeploc_letters_gone"
    )
    assert used.stderr.count("\n") == 1


def test_unknown_plugin_names_the_nearest() -> None:
    """The message gives the nearest name and all there are."""
    with pytest.raises(
        PluginError, match=r"no plugin named 'perplex' .*; did you mean 'perplexity'"
    ):
        named.load("deeploc.tasks", "perplex")


@pytest.mark.parametrize("address", ["gpt2", "hf:", ""])
def test_model_without_adapter_is_an_error(address: str) -> None:
    """An address is ADAPTER:NAME."""
    with pytest.raises(AdapterError, match=r"write ADAPTER:NAME, e\.g\. hf:gpt2"):
        plugins.load_model(address)


@pytest.mark.parametrize("group", ["deeploc.adapters", "deeploc.tasks"])
def test_every_shipped_module_is_a_plugin(group: plugins.Group) -> None:
    """No adapter or task module was forgotten in pyproject.toml, and each can be loaded."""
    package = import_module(group)
    folder = Path(str(package.__file__)).parent
    modules = {f"{group}.{p.stem}" for p in folder.glob("[a-z]*.py")}
    declared = {e.module for e in entry_points(group=group) if e.module.startswith(group)}

    assert modules == declared
    for name in named.available(group):
        assert callable(named.load(group, name))
