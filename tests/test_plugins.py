import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from deeploc import plugins
from deeploc.errors import AdapterError, PluginError

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "foreign-letters"
version = "0.3"
[project.entry-points."deeploc.adapters"]
letters = "foreign_letters:load"
broken = "foreign_letters_gone:load"
[project.entry-points."deeploc.tasks"]
vowels = "foreign_letters:make"
[tool.setuptools]
py-modules = ["foreign_letters"]
"""

MODULE = '''\
"""A model of somebody else's: two stacked blocks over one-hot letters."""

import numpy as np
import torch
from torch import nn

import deeploc
from deeploc.results import Measurement


class Letters(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(26, 26) for _ in range(2))

    def forward(self, x):
        for block in self.blocks:
            x = block(x).relu()
        return x


def one_hot(texts):
    codes = torch.tensor([[ord(c) - 97 for c in text.ljust(8, "z")[:8]] for text in texts])
    return nn.functional.one_hot(codes.clamp(0, 25), 26).float()


def load(name, options):
    torch.manual_seed(options.seed)
    return deeploc.wrap(Letters(), preprocess=one_hot, name=f"letters:{name}")


class Vowels:
    name = "vowels"
    metrics = {"share": "higher"}
    identity = {"items": "none"}

    def prepare(self, adapter):
        pass

    def measure(self, adapter):
        return [Measurement("share", "all", np.array([1.0, 0.0]), np.ones(2))]


def make(options, context):
    return Vowels()
'''

CONTRAST = """\
name: vowels
title: Vowels > consonants
modality: text
source: made up for the tests
conditions:
  vowels: {texts: [aeiou, eaoui, uaieo, oiuea]}
  consonants: {texts: [bcdfg, gfdcb, dfgbc, cbgfd]}
contrast: vowels > consonants
read: {pool: mean}
evaluate: [vowels]
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which a foreign package with plugins is installed."""
    source = tmp_path_factory.mktemp("foreign")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "foreign_letters.py").write_text(MODULE)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(target)}


def deeploc(environment: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deeploc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_foreign_model_and_task_run(foreign: dict[str, str], tmp_path: Path) -> None:
    """Somebody else's architecture goes through every step with no line of deeploc changed."""
    (tmp_path / "vowels.yaml").write_text(CONTRAST)
    place = ("-m", "letters:small", "-o", tmp_path / "run", "-q")
    localized = deeploc(foreign, "localize", tmp_path / "vowels.yaml", *place)
    whole = deeploc(foreign, "run", tmp_path / "vowels.yaml", *place, "--percent", 10)

    assert localized.returncode == 0, localized.stderr
    assert "blocks.1  block" in localized.stdout
    assert whole.returncode == 0, whole.stderr
    assert "vowels" in (tmp_path / "run" / "scores.csv").read_text()


def test_broken_plugin_harms_nobody(foreign: dict[str, str]) -> None:
    """A plugin that cannot be imported is told where it comes from; everything else works."""
    listed = deeploc(foreign, "plugins")
    used = deeploc(foreign, "sites", "broken:x")

    assert listed.returncode == 0
    assert "foreign-letters 0.3" in listed.stdout
    assert used.returncode == 1
    assert used.stderr.startswith(
        "Error: plugin 'broken' (foreign-letters 0.3, foreign_letters_gone"
    )
    assert used.stderr.count("\n") == 1


def test_unknown_plugin_names_the_nearest() -> None:
    """The message gives the nearest name and all there are."""
    with pytest.raises(
        PluginError, match=r"no plugin named 'perplex' .*; did you mean 'perplexity'"
    ):
        plugins.load("deeploc.tasks", "perplex")


@pytest.mark.parametrize("address", ["gpt2", "hf:", ""])
def test_model_without_adapter_is_told_how_to_write_it(address: str) -> None:
    """An address is ADAPTER:NAME."""
    with pytest.raises(AdapterError, match=r"write ADAPTER:NAME, e\.g\. hf:gpt2"):
        plugins.load_model(address)


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_every_shipped_module_is_a_plugin(group: plugins.Group) -> None:
    """No adapter or task module was forgotten in pyproject.toml, and each can be loaded."""
    package = import_module(group)
    folder = Path(str(package.__file__)).parent
    modules = {f"{group}.{p.stem}" for p in folder.glob("[a-z]*.py")}
    declared = {e.module for e in entry_points(group=group) if e.module.startswith(group)}

    assert modules == declared
    for name in plugins.available(group):
        assert callable(plugins.load(group, name))
