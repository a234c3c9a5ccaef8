"""How a model is loaded: options of commands, in the manifest, in the report, when reopened."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.core.model_options import ModelOptions
from deeploc.runs.records import Options
from deeploc.runs.setup import Setup, default_folder

CODE = """
from transformers import GPT2LMHeadModel

class PlainLM(GPT2LMHeadModel):
    pass
"""
LOADING = {"trust_remote_code": "--trust-remote-code", "revision": "--revision"}


def run(*args: object) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (ModelOptions(revision="v1.0"), "language-gpt2-v1.0"),
        (ModelOptions(revision="refs/pr/1"), "language-gpt2-refs-pr-1"),
        (ModelOptions(trust_remote_code=True), "language-gpt2-remote-code"),
        (ModelOptions(revision="v1", untrained=True, seed=2), "language-gpt2-v1-untrained-seed2"),
        (ModelOptions(device_map="auto"), "language-gpt2"),
    ],
)
def test_folder_is_named_by_what_decides_the_numbers(model: ModelOptions, name: str) -> None:
    """Revision and code do; where the weights are does not."""
    assert default_folder("language", Setup("hf:gpt2", model)) == Path("runs") / name


def test_file_of_the_hub_names_its_folder() -> None:
    """The name of a GGUF file is that of the model."""
    folder = default_folder("language", Setup("hf:owner/quants:Q8.gguf"))

    assert folder == Path("runs/language-Q8.gguf")


def test_recorded_options_are_restored(tmp_path: Path) -> None:
    """What decides the numbers comes from the record, where the model runs from the command."""
    model = ModelOptions(
        revision="v1", trust_remote_code=True, device_map="auto", untrained=True, seed=3
    )
    recorded = Options.model_validate(Setup("hf:gpt2", model).options(tmp_path)).model_dump()
    here = ModelOptions(batch_size=2, device_map="cpu")
    reopened = Setup.from_options("hf:gpt2", recorded, "", here)

    assert recorded["device_map"] == "auto"
    assert reopened.model == replace(model, batch_size=2, device_map="cpu")


def test_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It has none of these options; they are what they were then."""
    recorded = Setup("hf:gpt2").options(tmp_path)
    for name in ("revision", "trust_remote_code", "device_map"):
        del recorded[name]
    restored = Options.model_validate(recorded).model_dump()

    assert Setup.from_options("hf:gpt2", restored, "", ModelOptions()).model == ModelOptions()


def test_every_command_that_names_a_model_takes_its_revision_and_code() -> None:
    """A command with --model or a model as argument; those that reopen a run take neither."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        taken = {parameter.name for parameter in command.params}
        loads = ("model" in taken and "limit" in taken) or name == "sites"
        assert (taken & LOADING.keys() == LOADING.keys()) == loads, name
        if "device" in taken:
            assert "device_map" in taken, name


@pytest.mark.usefixtures("checkpoint_code")
def test_code_of_a_checkpoint_is_told_and_run_again(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Manifest and report say that it was run; a command that reopens the run runs it again."""
    model = shutil.copytree(tiny_lm, tmp_path / "coded")
    (model / "modeling_plain.py").write_text(CODE)
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_plain.PlainLM"}
    (model / "config.json").write_text(json.dumps(config))
    folder = tmp_path / "run"
    common = (contrast_file, "-m", f"hf:{model}", "-o", folder)
    run("localize", *common, "--trust-remote-code", "--set", "verdict.untrained=false")
    run("report", folder)
    again = json.loads(run("ablate", folder, "--prompt", "the cat", "--json").stdout)
    manifest = json.loads((folder / "manifest.json").read_text())

    assert f"the Python code in hf:{model} was run: modeling_plain.PlainLM" in caplog.messages
    assert manifest["options"]["trust_remote_code"] is True
    assert manifest["model"]["remote_code"] == ["modeling_plain.PlainLM"]
    assert (
        "<b>the Python code of the checkpoint was run</b>" in (folder / "report.html").read_text()
    )
    assert again["prompt"] == "the cat"
