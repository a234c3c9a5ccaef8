"""Runs whose modes of ablation need activations at every position."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc.analysis.demonstration import continuations
from deeploc.analysis.position_activations import read_moments
from deeploc.analysis.states import Dose
from deeploc.contrast.model import load
from deeploc.core.adapter import ModelOptions
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import ContrastError, RunError
from deeploc.experiment import STAGES, evaluate_run, open_run, run_all
from deeploc.runs.files import load_moments
from deeploc.runs.lock import locked
from deeploc.runs.positions import PositionsStage
from deeploc.runs.saved_run import load_run
from deeploc.runs.setup import Setup
from deeploc.runs.stages import bring_up_to_date
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .test_stages import ALL, OTHERS, WORDS, Inputs, contrast_of


@dataclass
class WithPositions(Inputs):
    """The stages of an evaluation whose modes need moments by class of position."""

    def stages(self) -> list[Any]:
        stages = super().stages()
        place = [stage.name for stage in stages].index("evaluate")
        return [*stages[:place], PositionsStage(), *stages[place:]]


def keys_of(folder: Path) -> dict[tuple[str, str, str], str]:
    return {(r.sites, r.mode, r.mask): r.key for r in load_run(folder).scores}


def test_moments_are_kept_and_read_again(tmp_path: Path) -> None:
    """What was written is what is read; a second run reads no stimulus for it."""
    inputs = WithPositions()
    inputs.make(tmp_path)
    run = inputs.run(tmp_path)
    again = read_moments(run.adapter, run.contrast, run.stimuli.localizing, run.stat_map)
    kept = load_moments(tmp_path / "positions.safetensors")

    for name, vector in again.vectors.items():
        np.testing.assert_array_equal(kept.vectors[name], vector)
    assert kept.layout.units == again.layout.units
    assert run.moments.vectors["mean_first"].tobytes() == again.mean_first.tobytes()
    place = ALL.index("evaluate")
    assert inputs.make(tmp_path) == [*ALL[:place], "positions", *ALL[place:]]


class Counting(ToyAdapter):
    """Counts how often stimuli are read at every position."""

    n_read = 0

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[tuple[int, Positions]]:
        self.n_read += len(stimuli)
        return super().positions(stimuli, layout, readout)


def test_positions_are_read_once(tmp_path: Path) -> None:
    """What looks for massive activations and what measures the means share one pass."""
    inputs = WithPositions()
    run = inputs.run(tmp_path)
    adapter = Counting()
    adapter.identity = inputs.identity
    with locked(run.folder.path, create=True):
        bring_up_to_date(replace(run, adapter=adapter), inputs.stages(), STAGES)

    assert adapter.n_read == len(WORDS) + len(OTHERS)


def test_a_run_without_the_file_measures_the_same(tmp_path: Path) -> None:
    """Runs of earlier versions have no such stage: what they lack is read when it is needed."""
    WithPositions().make(tmp_path / "new")
    Inputs().make(tmp_path / "old")

    assert keys_of(tmp_path / "new") == keys_of(tmp_path / "old")
    assert not (tmp_path / "old" / "positions.safetensors").exists()


def test_other_stimuli_make_other_moments(tmp_path: Path) -> None:
    """The moments of former stimuli are not used with new statistics."""
    WithPositions().make(tmp_path / "run")
    changed = WithPositions(abc=("aaaa", "b", "cc", "abc"))
    changed.make(tmp_path / "run", overwrite=True)
    changed.make(tmp_path / "fresh")

    assert keys_of(tmp_path / "run") == keys_of(tmp_path / "fresh")
    file = "positions.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "fresh" / file).read_bytes()


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """Other bytes, or a file with other vectors, are refused by name."""
    inputs = WithPositions()
    inputs.make(tmp_path)
    run = inputs.run(tmp_path)
    file = tmp_path / "positions.safetensors"
    file.write_bytes(run.folder.mask.read_bytes())

    with pytest.raises(RunError, match=r"positions.safetensors is missing or not as 'positions'"):
        run.moments  # noqa: B018
    with pytest.raises(RunError, match=r"holds selected, not moments of positions"):
        load_moments(file)


@pytest.mark.parametrize("mode", ["resample", "noise"])
def test_random_edits_are_the_same_in_every_process(tmp_path: Path, mode: str) -> None:
    """A run that is taken up again measures nothing twice; another seed draws others."""
    ablate = {"mode": [mode], "controls": {"random": 3}}
    first = WithPositions(contrast_of(ablate=ablate))
    first.make(tmp_path / "run")
    measured = first.task.measured
    (tmp_path / "run" / "report.html").unlink(missing_ok=True)
    second = WithPositions(contrast_of(ablate=ablate), task=first.task)
    second.make(tmp_path / "run")
    assert first.task.measured == measured

    WithPositions(contrast_of(ablate=ablate), seed=1).make(tmp_path / "other")
    WithPositions(contrast_of(ablate=ablate)).make(tmp_path / "again")
    values = [
        {(r.sites, r.mask): (r.key, r.value) for r in load_run(tmp_path / name).scores}
        for name in ("run", "again", "other")
    ]
    assert values[0] == values[1]
    assert values[0]["block", "selected"][0] != values[2]["block", "selected"][0]


def test_every_mode_from_contrast_to_report(tiny_lm: Path, contrast_file: Path) -> None:
    """A language model: all modes are measured, told in the report, and shown for a prompt."""
    modes = "[zero, mean, resample, noise]"
    contrast = load(contrast_file, [f"ablate.mode={modes}", "ablate.controls.random=1"])
    folder = contrast_file.parent / "run"
    setup = Setup(f"hf:{tiny_lm}", ModelOptions(device="cpu", seed=0))
    run_all(contrast, setup, folder)
    before = {row.key: row.value for row in load_run(folder).scores}
    opened = open_run(folder)
    report = (folder / "report.html").read_text()

    assert {row.mode for row in load_run(folder).scores} >= {"zero", "mean", "resample", "noise"}
    assert "holding each at its own mean over all positions of localizing stimuli" in report
    assert "of the control condition" in report
    for mode in ("mean", "resample", "noise"):
        texts = continuations(
            opened, "the cat", Dose((mode,), 50.0), max_tokens=5, temperature=0.0, seed=0
        )
        assert len(texts) == 4
    evaluate_run(opened)
    assert {row.key: row.value for row in load_run(folder).scores} == before


def test_modes_without_moments_read_nothing_more(tiny_lm: Path, contrast_file: Path) -> None:
    """Zero and scale cost no forward pass: there is no such stage."""
    contrast = load(contrast_file, ["ablate.mode=[zero, 'scale:0.5']", "ablate.controls.random=1"])
    folder = contrast_file.parent / "run"
    run_all(contrast, Setup(f"hf:{tiny_lm}", ModelOptions(device="cpu", seed=0)), folder)

    assert not (folder / "positions.safetensors").exists()
    assert "positions" not in load_run(folder).manifest


def test_an_unknown_mode_is_refused_with_the_place(contrast_file: Path) -> None:
    """The line of the contrast file is named, and the nearest mode."""
    with pytest.raises(ContrastError, match="did you mean 'resample'"):
        load(contrast_file, ["ablate.mode=resampling"])
