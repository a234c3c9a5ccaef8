"""The docs agree with the code."""

import re
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import deeploc
from deeploc import entry_points
from deeploc.cli import main
from deeploc.contrast import model as contrast
from deeploc.core.adapter import Generates
from deeploc.core.controls import CONTROLS
from deeploc.core.effects import MIN_CONTROLS
from deeploc.experiment import STAGES
from deeploc.stimuli import load, split_half

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {
    page.relative_to(ROOT / "docs").as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md")
}
OF_OTHER_TOOLS = "coming-from.md"
"""The page that names options of other tools beside those of deeploc."""

OPTIONS_OF_OTHER_TOOLS = {
    *("--model-name", "--network", "--percentage", "--pooling", "--localize-range"),
}

CONTEXT = click.Context(main)
COMMANDS = {name: main.get_command(CONTEXT, name) for name in main.list_commands(CONTEXT)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_among_the_commands(command: str) -> None:
    """Users learn of a command from the page of commands."""
    assert (
        f"| `deeploc {command}" in DOCS["usage.md"] or f"· `deeploc {command}" in DOCS["usage.md"]
    )


@pytest.mark.parametrize("name", contrast.available())
def test_every_shipped_contrast_is_among_the_contrasts(name: str) -> None:
    """Users learn of a contrast from the page of contrasts."""
    assert f"`{name}`" in DOCS["contrasts.md"]


@pytest.mark.parametrize("name", entry_points.available("deeploc.tasks"))
def test_every_task_is_among_the_contrasts(name: str) -> None:
    """Users learn of a task where the contrast file is shown."""
    assert name in DOCS["contrasts.md"]


@pytest.mark.parametrize("page", ["README.md", *DOCS])
def test_options_named_on_the_pages_exist(page: str) -> None:
    """Every --option belongs to some command."""
    options = {
        opt for command in COMMANDS.values() for param in command.params for opt in param.opts
    }
    text = DOCS.get(page, README)
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text))
    # those of a script are that script's
    named -= set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"`python [^`]*`", text))))
    others = {"--help"} | (OPTIONS_OF_OTHER_TOOLS if page == OF_OTHER_TOOLS else set())

    assert named <= options | others


def test_the_contrast_of_the_page_is_valid(tmp_path: Path) -> None:
    """The example passes `deeploc check` with the two files that it names."""
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS["contrasts.md"], re.DOTALL)
    (tmp_path / "questions.yaml").write_text(example)
    (tmp_path / "questions.txt").write_text("who goes\nwhat is it\nwhere now\nwhen then\n")
    rows = "sentence,type\nit goes,statement\nwhy,question\nthat is it,statement\nnow,statement\n"
    (tmp_path / "items.csv").write_text(rows)
    result = CliRunner().invoke(main, ["check", str(tmp_path / "questions.yaml")])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda p: p.stem)
def test_example_contrasts_are_valid(path: Path) -> None:
    """Each example passes `deeploc check`."""
    result = CliRunner().invoke(main, ["check", str(path)])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("text", [README, DOCS["python.md"]], ids=["README.md", "python.md"])
def test_the_python_of_the_pages_runs(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example ends by printing what the ablated model generates."""
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(example, {})

    assert capsys.readouterr().out.strip()


def test_what_the_page_says_of_a_module_of_ones_own() -> None:
    """It has no `generate`; its own call is ablated inside the context; halves are made so."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).eval()
    adapter = deeploc.wrap(net, preprocess=lambda texts: torch.eye(3)[[0] * len(texts)])
    selected = np.ones(adapter.sites.n_units, dtype=bool)
    inputs = torch.eye(3)
    with (
        torch.no_grad(),
        adapter.ablated(deeploc.Ablation(deeploc.UnitMask(adapter.sites, selected))),
    ):
        ablated = net(inputs)
    contrast = deeploc.load_contrast("language")
    halves = split_half(load(contrast, seed=0), seed=0)

    assert not isinstance(adapter, Generates)
    assert torch.equal(ablated, net[1].bias.expand(3, 3))
    assert not torch.equal(ablated, net(inputs))
    assert [task.name for task in deeploc.make_tasks(contrast, halves)] == [
        name for name, _ in contrast.tasks
    ]
    assert "split_half(load(contrast, seed=0), seed=0)" in DOCS["python.md"]


def test_the_classes_of_accuracy_are_given_as_the_page_says() -> None:
    """The line of the page makes the task, by name or by number."""
    (line,) = re.findall(r"`- (accuracy: .*?}})`", DOCS["contrasts.md"])
    filled = line.replace("CONDITION", "faces").replace("CLASS", "3")
    contrast = deeploc.load_contrast("faces-rendered", [f"evaluate=[{{{filled}}}]"])
    halves = split_half(load(contrast, seed=0, limit=4), seed=0)
    (task,) = deeploc.make_tasks(contrast, halves)

    assert task.name == "accuracy"


def test_every_module_is_in_the_architecture() -> None:
    """The page names every module and room."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = {p.stem for p in (ROOT / "deeploc").glob("[a-z]*.py")}
    folders = {f"{p.name}/" for p in (ROOT / "deeploc").iterdir() if (p / "__init__.py").exists()}

    assert {name for name in modules | folders if f"`{name}" not in text} == set()


GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS = {
    *("pool", "response", "tokens", "max_tokens", "against", "split", "balance"),
    *CONTROLS,
    *("zero", "mean", "scale:G", "selected", "top", "none"),
    *("key", "task_key", "control_of"),
    *(stage.name for stage in STAGES),
    *("last", "mean", "max", "cls"),
    *("beyond random", "as random", "unharmed", "too few controls"),
}


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_of_the_files_is_in_the_glossary(word: str) -> None:
    """Keys of contrasts, controls, modes, masks, columns, stages and verdicts."""
    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", GLOSSARY)


def test_numbers_of_the_docs_about_controls_follow_from_the_level() -> None:
    """Docs and code give one number: the fewest controls with which p can be 0.05."""
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert f"at least {MIN_CONTROLS} controls" in architecture
    assert f"fewer than {MIN_CONTROLS} matched controls" in GLOSSARY
