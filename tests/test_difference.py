"""Mode ``add``: the difference between the sides of a contrast, added to units of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc.analysis.difference import is_known, mean_difference, read_difference
from deeploc.analysis.localization import localize
from deeploc.analysis.planning import plan
from deeploc.contrast.fields import Ablate
from deeploc.contrast.model import load
from deeploc.core.ablation import Ablation, ForwardPass
from deeploc.core.adapter import ModelOptions
from deeploc.core.modes import Modes, manner, protocol
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.experiment import open_run, run_all
from deeploc.runs.difference import DifferenceStage, difference_stages
from deeploc.runs.saved_run import load_run
from deeploc.runs.setup import Setup
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .test_stages import ALL, OTHERS, WORDS, Inputs, contrast_of

STIMULI = {
    name: tuple(Stimulus(f"{name}:{i}", text) for i, text in enumerate(texts))
    for name, texts in (("abc", WORDS), ("def", OTHERS), ("rest", ("ab", "f", "xyz")))
}
THREE = {name: {"texts": list(WORDS)} for name in STIMULI}
READ = {"sites": ["mlp-neurons", "block"], "pool": "last"}


class Signed(ToyAdapter):
    """The toy model, its letters counted from -1 on, so that activations have both signs."""

    def _forward(self, text: str) -> dict[str, np.ndarray]:
        return {name: values - 1 for name, values in super()._forward(text).items()}


def activations_of(name: str) -> np.ndarray:
    model = Signed()
    batches = model.activations(STIMULI[name], model.sites, Readout(pool="last"))
    return np.concatenate([batch.values for batch in batches])


@pytest.mark.parametrize("response", ["abs", "signed"])
@pytest.mark.parametrize(
    ("contrast", "weights"),
    [
        ("abc > def", {"abc": [1], "def": [-1]}),
        ("abc > def, rest", {"abc": [1], "def": [-6 / 9], "rest": [-3 / 9]}),
        ({"abc": 3, "def": -1, "rest": -2}, {"abc": [1], "def": [-1 / 3], "rest": [-2 / 3]}),
    ],
)
def test_difference_is_that_of_signed_means(
    response: str, contrast: Any, weights: Mapping[str, list[float]]
) -> None:
    """Whatever the response: sides pooled over stimuli, weights with positive ones of sum 1."""
    made = contrast_of(conditions=THREE, contrast=contrast, read={**READ, "response": response})
    expected = sum(w * activations_of(name).mean(axis=0) for name, (w,) in weights.items())
    model = Signed()
    read = read_difference(made, STIMULI, model.sites, model)

    np.testing.assert_allclose(read, expected, atol=1e-12)
    assert (read < 0).any()
    assert (read > 0).any()
    if response == "signed":
        means = localize(model, made, STIMULI).means
        np.testing.assert_allclose(mean_difference(made, means, STIMULI), read, atol=1e-12)


def test_non_finite_units_are_not_moved() -> None:
    """A mean that is not finite gives 0; others stay."""
    means = {"abc": np.array([np.nan, np.inf, 3.0]), "def": np.array([0.0, np.inf, 1.0])}

    assert mean_difference(contrast_of(), means, STIMULI).tolist() == [0, 0, 2]


@pytest.fixture(scope="module")
def stat_map() -> StatMap:
    return localize(Signed(), contrast_of(read=READ), STIMULI)


@pytest.fixture(scope="module")
def modes(stat_map: StatMap) -> Modes:
    difference = mean_difference(contrast_of(read=READ), stat_map.means, STIMULI)
    return Modes(stat_map, difference=lambda: difference)


@pytest.mark.parametrize(("mode", "times"), [("add", 1.0), ("add:1", 1.0), ("add:-2.5", -2.5)])
def test_units_move_by_their_own_difference(
    modes: Modes, stat_map: StatMap, mode: str, times: float
) -> None:
    """At every position, nothing else; the key says by how much."""
    mask = UnitMask(stat_map.layout, np.arange(52) % 26 < 5)
    (site,) = [site for site in stat_map.layout.sites if site.kind == "block"]
    mask = mask.of_kind("block")
    model, text = Signed(), [Stimulus("", "abcf")]
    ((_, intact),) = model.positions(text, model.sites, Readout())
    with model.ablated(modes.edit(mode, mask)):
        ((_, steered),) = model.positions(text, model.sites, Readout())
    assert modes.difference is not None
    moved = times * np.where(mask.at(site.name), modes.difference()[26:], 0.0)

    np.testing.assert_allclose(steered[site.name], intact[site.name] + moved, atol=1e-12)
    assert np.abs(moved).max() > 1
    same = modes.edit("add", mask).key == modes.edit(mode, mask).key
    assert same == (times == 1)


def test_controls_move_by_the_difference_at_their_own_units(
    modes: Modes, stat_map: StatMap
) -> None:
    """The procedure of a control is that of the selected units."""
    mask = UnitMask(stat_map.layout, np.arange(52) % 26 < 5)
    ablate = Ablate.model_validate({"mode": "add", "controls": {"random": 4}})
    cells = plan(stat_map, mask, ablate, 0, modes=modes).cells
    edits = [edit for edit in (cells[cell] for cell in cells) if edit is not None]
    assert modes.difference is not None

    assert len({edit.key for edit in edits}) == len(edits) == 10
    for edit in edits:
        assert isinstance(edit, Ablation)
        assert edit.gain == 1
        np.testing.assert_array_equal(edit.offset, modes.difference())


def test_every_scalar_of_a_unit_moves() -> None:
    """A head of three scalars moves by three numbers; other heads by none."""
    layout = Layout((Site("a", "heads", 2, "input", width=3), Site("b", "block", 1)))
    units = np.zeros(3)
    stat_map = StatMap(layout, *(units,) * 7)
    modes = Modes(stat_map, difference=lambda: np.arange(7.0) - 10)
    edit = modes.edit("add", UnitMask(layout, np.array([False, True, True])))
    head = edit.edited("a:input", np.zeros((1, 1, 3)), ForwardPass(0, (1,)))

    assert edit.mask.selected.tolist() == [False] * 3 + [True] * 4
    assert head.tolist() == [[[-7, -6, -5]]]
    assert not is_known(contrast_of(read=READ), layout)


def test_an_unknown_difference_is_refused(stat_map: StatMap) -> None:
    """One line with the mode and what to give; a number that is none is refused, too."""
    mask = UnitMask(stat_map.layout, np.arange(52) < 5)
    with pytest.raises(ValueError, match=r"mode 'add:2' adds the difference .* not known here"):
        Modes(stat_map).edit("add:2", mask)
    with pytest.raises(ValueError, match=r"no ablation mode 'add:x'; there are 'zero', .*'add:G'"):
        Modes(stat_map, difference=lambda: stat_map.t).edit("add:x", mask)
    with pytest.raises(ValueError, match="'add' is no `Ablation` of a StatMap alone"):
        Ablation.of("add", mask, stat_map)


def test_manners_are_told_apart() -> None:
    """Taking away, amplifying, steering; in words."""
    named = {mode: manner(mode) for mode in ("zero", "noise", "scale:-1", "scale:3", "scale:-2")}

    assert list(named.values()) == ["ablation"] * 3 + ["amplification"] * 2
    assert manner("add") == manner("add:0.5") == "steering"
    assert "-0.5 times its mean signed activation" in protocol("add:-0.5")
    assert "times" not in protocol("add")


# runs


@dataclass
class Steered(Inputs):
    """The stages of an evaluation whose modes add."""

    def stages(self) -> list[Any]:
        stages = super().stages()
        place = [stage.name for stage in stages].index("evaluate")
        return [*stages[:place], DifferenceStage(), *stages[place:]]


ADDING = contrast_of(
    read={**READ, "response": "abs"}, ablate={"mode": ["zero", "add"], "controls": {"random": 2}}
)


def keys_of(folder: Path) -> dict[tuple[str, str, str], str]:
    return {(r.sites, r.mode, r.mask): r.key for r in load_run(folder).scores}


def test_difference_is_kept_and_read_again(tmp_path: Path) -> None:
    """What was written is what is added; without the file the same is measured."""
    inputs = Steered(ADDING)
    inputs.make(tmp_path / "kept")
    Inputs(ADDING).make(tmp_path / "measured")
    run = inputs.run(tmp_path / "kept")
    kept = run.difference
    place = ALL.index("evaluate")

    np.testing.assert_array_equal(kept, run.measured_difference())
    assert inputs.make(tmp_path / "kept") == [*ALL[:place], "difference", *ALL[place:]]
    assert keys_of(tmp_path / "kept") == keys_of(tmp_path / "measured")
    assert not (tmp_path / "measured" / "difference.safetensors").exists()


def test_other_stimuli_make_another_difference(tmp_path: Path) -> None:
    """That of former stimuli is not added with new statistics."""
    Steered(ADDING).make(tmp_path / "run")
    changed = Steered(ADDING, abc=("aaaa", "b", "cc", "abc"))
    changed.make(tmp_path / "run", overwrite=True)
    changed.make(tmp_path / "fresh")

    assert keys_of(tmp_path / "run") == keys_of(tmp_path / "fresh")


def test_a_damaged_difference_is_one_line(tmp_path: Path) -> None:
    """A file with another vector is refused by name."""
    inputs = Steered(ADDING)
    inputs.make(tmp_path)
    (tmp_path / "difference.safetensors").write_bytes((tmp_path / "mask.safetensors").read_bytes())

    with pytest.raises(RunError, match="difference"):
        _ = inputs.run(tmp_path).difference


def test_signed_statistics_hold_the_difference(tmp_path: Path) -> None:
    """There is no stage for what the StatMap says, and none without the mode."""
    signed = Inputs(contrast_of(read=READ, ablate=ADDING.ablate.model_dump(by_alias=True)))
    signed.make(tmp_path)
    run = signed.run(tmp_path)
    means = run.stat_map.means

    assert difference_stages(run, ["zero", "add"]) == []
    assert [s.name for s in difference_stages(Inputs(ADDING).run(tmp_path), ["add:2"])] == [
        "difference"
    ]
    assert difference_stages(Inputs(ADDING).run(tmp_path), ["zero", "scale:3"]) == []
    np.testing.assert_allclose(run.difference, means["abc"] - means["def"], atol=1e-12)


def test_a_run_steers_and_says_so(tiny_lm: Path, contrast_file: Path) -> None:
    """From a file to the report; what is added is the same when the run is opened again."""
    modes = "ablate.mode=[zero, add, 'scale:3']"
    contrast = load(contrast_file, [modes, "ablate.controls.random=1", "read.response=abs"])
    folder = contrast_file.parent / "run"
    run = run_all(contrast, Setup(f"hf:{tiny_lm}", ModelOptions(device="cpu", seed=0)), folder)
    report = (folder / "report.html").read_text()
    saved = load_run(folder)

    assert (folder / "difference.safetensors").exists()
    assert {row.mode for row in saved.scores} >= {"zero", "add", "scale:3"}
    assert "minus that over the other side (steering)" in report
    assert np.abs(run.difference).max() > 0
    opened = open_run(folder)
    assert opened.modes.edit("add", opened.mask).key == run.modes.edit("add", run.mask).key


def test_robust_rests_on_ablations_only(tmp_path: Path) -> None:
    """What amplifies or adds takes nothing away: it is measured, and decides nothing."""
    four = {"mode": ["zero", "mean", "add", "scale:3"], "controls": {"random": 20}}
    primary = {"controls": 199, "primary": "letters/seen/all"}
    read = {"sites": ["mlp-neurons"], "pool": "mean"}
    made = contrast_of(read=read, ablate=four, verdict=primary, evaluate=["letters"])
    Steered(made).make(tmp_path)
    saved = load_run(tmp_path)
    assert saved.verdict is not None
    (network,) = saved.verdict.networks
    robust = network.reply("robust")

    assert {row.mode for row in saved.scores} >= {"add", "scale:3"}
    assert network.answer("causal") == "yes"
    assert robust is not None
    assert list(robust.numbers["modes"]) == ["mean"]
