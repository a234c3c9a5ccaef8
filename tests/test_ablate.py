"""`deeploc ablate` on texts: which states of the model are shown, and how."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Sampling
from deeploc.experiment import open_run

CONTRAST = """\
name: animals
title: Animals > places
modality: text
source: made for the tests
conditions:
  animals: {texts: [the cat, a dog, the cat and a dog, the dog]}
  places: {texts: [the house, a door, the house and a door, the door]}
contrast: animals > places
read: {sites: [mlp-neurons], pool: last}
split: none
select: {k: 12}
evaluate: [perplexity]
"""


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def localized(folder: Path, model: Path) -> Path:
    (folder / "animals.yaml").write_text(CONTRAST)
    target = folder / "run"
    result = run("localize", folder / "animals.yaml", "-m", f"hf:{model}", "-o", target, "-q")
    assert result.exit_code == 0, result.output
    return target


@pytest.fixture(scope="module")
def finished(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with 12 selected units; no test changes it."""
    return localized(tmp_path_factory.mktemp("animals"), tiny_lm)


def test_ablate_shows_what_was_asked_for(finished: Path) -> None:
    """Several modes, each with its control; what amplifies may be steering, or nothing."""
    args = ("ablate", finished, "--prompt", "the cat", "--max-tokens", 2, "--json")
    several = run(*args, "--mode", "mean", "--mode", "zero", "--amplify", "add:2")
    plain = run(*args, "--mode", "scale:-2", "--amplify", "none")
    units = "12 units of mlp-neurons"

    assert [*json.loads(several.stdout)["continuations"]] == [
        "intact",
        f"ablated: {units}, mean",
        f"ablated: {units}, zero",
        f"steered: {units}, add:2",
        "control: random units, mean",
        "control: random units, zero",
    ]
    assert [*json.loads(plain.stdout)["continuations"]] == [
        "intact",
        f"amplified: {units}, scale:-2",
        "control: random units, scale:-2",
    ]


@pytest.mark.parametrize("mode", ["zero", "mean", "scale", "scale:0.5", "scale:x", "add:", "more"])
def test_what_does_not_amplify_is_refused(mode: str) -> None:
    """Before a model is loaded, with the modes that amplify."""
    result = run("ablate", "no-run", "--prompt", "the cat", "--amplify", mode)

    assert result.exit_code == 1
    assert result.output == (
        f"Error: '{mode}' does not amplify; modes that do are scale:G with G beyond 1 or -1, e.g. "
        "scale:3, add and add:G; none: nothing is amplified\n"
    )


def test_a_mode_without_its_number_is_one_line(finished: Path) -> None:
    """`scale` alone says nothing; the message lists the modes."""
    result = run("ablate", finished, "--prompt", "the cat", "--mode", "scale")

    assert result.exit_code == 1
    assert "no ablation mode 'scale'; there are 'zero'," in result.output


def test_the_first_kind_with_selected_units_is_taken(tiny_lm: Path, tmp_path: Path) -> None:
    """A kind of site of which nothing was selected is not what is shown unasked."""
    file = tmp_path / "animals.yaml"
    file.write_text(CONTRAST.replace("[mlp-neurons]", "[heads, mlp-neurons]"))
    folder = tmp_path / "run"
    percent = "select={percent: 2}"  # 1 of 64 neurons of a block, none of two heads
    result = run("localize", file, "-m", f"hf:{tiny_lm}", "-o", folder, "-q", "--set", percent)
    shown = run("ablate", folder, "--prompt", "the cat", "--max-tokens", 1, "--json")

    assert result.exit_code == 0, result.output
    assert "ablated: 2 units of mlp-neurons, zero" in json.loads(shown.stdout)["continuations"]


def test_amplified_units_are_those_of_the_ablation(finished: Path) -> None:
    """The text under ``scale:3`` is that of an ablation with this gain, by hand."""
    opened = open_run(finished)
    mask = opened.mask.of_kind("mlp-neurons")
    with opened.adapter.ablated(Ablation(mask, gain=3.0)):
        expected = opened.adapter.generate("the cat", Sampling(6))
    args = ("ablate", finished, "--prompt", "the cat", "--max-tokens", 6, "--json")

    texts = json.loads(run(*args).stdout)["continuations"]
    assert texts["amplified: 12 units of mlp-neurons, scale:3"] == expected


def test_the_control_is_that_of_the_run(tiny_lm: Path, tmp_path: Path) -> None:
    """Without --seed the random units are those of the run's seed, whatever it is."""
    (tmp_path / "animals.yaml").write_text(CONTRAST)
    target = tmp_path / "run"
    args = ("localize", tmp_path / "animals.yaml", "-m", f"hf:{tiny_lm}", "-o", target, "-q")
    assert run(*args, "--seed", 3).exit_code == 0
    asked = ("ablate", target, "--prompt", "the cat", "--temperature", 2, "--json")
    own, three, zero = (
        json.loads(run(*asked, *seed).stdout) for seed in ((), ("--seed", 3), ("--seed", 0))
    )

    assert own == three != zero


@pytest.mark.parametrize(("columns", "beside"), [(120, True), (80, False), (60, False)])
def test_texts_fit_the_terminal(
    finished: Path, monkeypatch: pytest.MonkeyPatch, columns: int, beside: bool
) -> None:
    """Side by side where columns are wide enough to be read, else below each other."""
    monkeypatch.setenv("COLUMNS", str(columns))
    args = ("ablate", finished, "--prompt", "the cat", "--max-tokens", 30)
    lines = run(*args).stdout.splitlines()

    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("intact")
    assert ("ablated" in lines[0]) == beside
    assert any(line.startswith("control: random units, zero") for line in lines) != beside


def test_settings_of_the_checkpoint_are_told(finished: Path, tiny_lm: Path, tmp_path: Path) -> None:
    """One line on stderr, and in JSON, of what is not followed; no line where that is nothing."""
    own = {"num_beams": 4, "suppress_tokens": list(range(2, 11))}
    shutil.copytree(tiny_lm, tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").write_text(json.dumps(own))
    folder = localized(tmp_path, tmp_path / "model")
    args = ("--prompt", "the cat", "--max-tokens", 3)
    plain, told = run("ablate", finished, *args), run("ablate", folder, *args)
    as_json = run("ablate", folder, *args, "--json")

    assert "not followed" not in plain.stderr
    assert (
        "not followed of the checkpoint's generation_config: num_beams 4, suppress_tokens "
        "[2, 3, 4, … 9 in all]\n"
    ) in told.stderr
    assert told.stdout == plain.stdout
    assert json.loads(as_json.stdout)["not_followed"] == own
