"""What is current in a run folder: one input changed at a time, and nothing shown that is stale."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc.analysis.planning import plan
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.errors import RunError
from deeploc.experiment import STAGES
from deeploc.progress import SilentReporter
from deeploc.report.stage import ReportStage
from deeploc.report.verdict_text import conclusion
from deeploc.runs.evaluating import EvaluateStage
from deeploc.runs.folder import RunFolder
from deeploc.runs.keys import differences
from deeploc.runs.localizing import AuditStage, LocalizeStage, ProfileStage, SelectStage
from deeploc.runs.lock import FILES, locked
from deeploc.runs.manifest import header_of
from deeploc.runs.massive import MassiveStage
from deeploc.runs.resampling import ReliabilityStage
from deeploc.runs.run import Run
from deeploc.runs.saved_run import load_run
from deeploc.runs.setup import Setup, default_folder
from deeploc.runs.stages import bring_up_to_date
from deeploc.runs.verdict import VerdictStage
from deeploc.stimuli import Stimulus, StimulusSets
from deeploc.testing import ToyAdapter

WORDS = ("abbag", "bacabh", "cabbai", "acbg", "bccah", "aacbi")
OTHERS = ("dedk", "fedel", "dfem", "eefdk", "fdl", "ddefm")


def contrast_of(**changes: Any) -> Contrast:
    plain = {
        "name": "letters",
        "title": "abc > def",
        "modality": "text",
        "source": "made for the tests",
        "conditions": {"abc": {"texts": list(WORDS)}, "def": {"texts": list(OTHERS)}},
        "contrast": "abc > def",
        "read": {"sites": ["mlp-neurons", "block"], "pool": "mean"},
        "select": {"percent": 25},
        "ablate": {"mode": ["zero", "mean"], "controls": {"random": 3, "bottom": True}},
    }
    return Contrast.model_validate({**plain, **changes})


@dataclass
class Letters:
    """How many of the letter ``letter`` the toy model has seen at the end of some texts."""

    letter: str = "a"
    texts: tuple[str, ...] = ("aab", "bab")
    name: str = "letters"
    metrics: Mapping[str, str] = field(default_factory=lambda: {"seen": "higher"})
    measured: int = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"letter": self.letter, "texts": list(self.texts)}

    def prepare(self, adapter: Adapter) -> None:
        """There is nothing to learn."""

    def measure(self, adapter: Adapter) -> list[Measurement]:
        self.measured += 1
        stimuli = [Stimulus(str(i), text) for i, text in enumerate(self.texts)]
        layout = adapter.sites.choose(["block"])
        values = np.concatenate(
            [b.values for b in adapter.activations(stimuli, layout, Readout(pool="last"))]
        )
        column = values[:, ord(self.letter) - ord("a")]
        return [Measurement("seen", "all", column, np.ones(len(column)))]


class Notes(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def reused(self) -> list[str]:
        (line,) = [n for n in self.notes if n.startswith("up to date, reused: ")] or [""]
        return line.removeprefix("up to date, reused: ").split(", ") if line else []


@dataclass
class Inputs:
    """Everything that a run is made from, to be changed one at a time."""

    contrast: Contrast = field(default_factory=contrast_of)
    identity: Mapping[str, Any] = field(
        default_factory=lambda: {
            "adapter": "toy",
            "model": "toy",
            "weights": "xxh3:1",
            "dtype": "float32",
            "revision": "1",
            "preparation": {"size": 224},
        }
    )
    seed: int = 0
    abc: Sequence[str] = WORDS
    held_out: Sequence[str] = WORDS
    task: Letters = field(default_factory=Letters)
    report: bool = False

    def run(self, folder: Path) -> Run:
        adapter = ToyAdapter()
        adapter.identity = self.identity
        setup = Setup("toy:toy", ModelOptions(seed=self.seed))
        halves = [
            {
                name: tuple(Stimulus(f"{name}:{i}", text) for i, text in enumerate(texts))
                for name, texts in (("abc", abc), ("def", OTHERS))
            }
            for abc in (self.abc, self.held_out)
        ]
        stimuli = StimulusSets(*halves, (), {"abc": len(self.abc), "def": len(OTHERS)})
        run = Run(RunFolder(folder), self.contrast, setup, adapter, stimuli, {}, Notes())
        header = header_of(self.contrast, setup, adapter, stimuli, run.layout)
        return replace(run, header={**header, "created": "today"})

    def stages(self) -> list[Any]:
        evaluate = EvaluateStage([self.task], self.contrast.ablate, self.contrast)
        finding = [AuditStage(), LocalizeStage(), SelectStage(), ProfileStage(), ReliabilityStage()]
        stages = [*finding, MassiveStage(), evaluate, VerdictStage()]
        return [*stages, ReportStage()] if self.report else stages

    def make(self, folder: Path, *, overwrite: bool = False) -> list[str]:
        """Bring the run up to date; return the stages that were reused."""
        run = self.run(folder)
        with locked(run.folder.path, create=True):
            bring_up_to_date(run, self.stages(), STAGES, overwrite=overwrite)
        assert isinstance(run.reporter, Notes)
        return run.reporter.reused


def changed_identity(**changes: Any) -> Callable[[Inputs], Inputs]:
    return lambda inputs: replace(inputs, identity={**inputs.identity, **changes})


def changed_contrast(**changes: Any) -> Callable[[Inputs], Inputs]:
    return lambda inputs: replace(inputs, contrast=contrast_of(**changes))


SITES = ["mlp-neurons", "block"]
ALL = ["audit", "localize", "select", "profile", "reliability", "massive", "evaluate", "verdict"]
CHANGES: dict[str, tuple[Callable[[Inputs], Inputs], list[str]]] = {
    "nothing": (lambda inputs: inputs, ALL),
    "the name of the model": (changed_identity(model="elsewhere/toy"), ALL),
    # the toy model's statistics stay the same: only what rests on nothing but them is reused
    "weights": (changed_identity(weights="xxh3:2"), ["select"]),
    "revision": (changed_identity(revision="2"), ["select"]),
    "dtype": (changed_identity(dtype="bfloat16"), ["select"]),
    "preprocessing": (changed_identity(preparation={"size": 256}), ["select"]),
    "stimulus": (lambda i: replace(i, abc=("abbb", *WORDS[1:])), []),
    "seed": (lambda i: replace(i, seed=1), ["audit", "select", "massive"]),
    "held-out stimulus": (
        lambda i: replace(i, held_out=("abbb", *WORDS[1:])),
        ["localize", "select", "reliability", "massive"],
    ),
    "comparison": (changed_contrast(contrast="def > abc"), []),
    "against": (changed_contrast(against="each"), ["select", "massive"]),
    "statistic": (changed_contrast(statistic="mann-whitney"), []),
    "paired": (changed_contrast(statistic="paired"), []),
    "correction": (
        changed_contrast(select={"fdr": 0.5, "correction": "benjamini-yekutieli"}),
        ["audit"],
    ),
    "pool": (changed_contrast(read={"sites": SITES, "pool": "max"}), []),
    "response": (
        changed_contrast(read={"sites": SITES, "pool": "mean", "response": "abs"}),
        ["select", "massive"],  # no activation of the toy model is negative
    ),
    "sites": (changed_contrast(read={"sites": ["block"], "pool": "mean"}), []),
    "selection": (changed_contrast(select={"k": 2}), ["audit", "localize"]),
    "tail": (changed_contrast(select={"percent": 25, "tail": "bottom"}), ["audit", "localize"]),
    "mode": (changed_contrast(ablate={"mode": "scale:0.5"}), ALL[:6]),
    "dose": (changed_contrast(ablate={"mode": ["zero", "mean"], "percent": 10}), ALL[:6]),
    "controls": (
        changed_contrast(ablate={"mode": ["zero", "mean"], "controls": {"random": 4}}),
        ALL[:6],
    ),
    "items of a task": (lambda i: replace(i, task=Letters(texts=("aab", "aaa"))), ALL[:6]),
    "options of a task": (lambda i: replace(i, task=Letters("b")), ALL[:6]),
    "deciding dose": (changed_contrast(verdict={"dose": 10}), ALL[:6]),
    "title": (changed_contrast(title="something else"), ALL),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_input_makes_what_rests_on_it_and_nothing_else(
    tmp_path: Path, change: str
) -> None:
    """The other stages are reused; a name or a title decides no number."""
    Inputs().make(tmp_path / "run")
    changed, reused = CHANGES[change]
    inputs = changed(Inputs())
    again = inputs.make(tmp_path / "run", overwrite=True)
    fresh = inputs.make(tmp_path / "fresh")

    assert again == reused
    assert fresh == []
    for name in ("statmap.safetensors", "mask.safetensors", "units.csv", "profile.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    resampled = [load_run(tmp_path / name).reliability for name in ("run", "fresh")]
    assert resampled[0] is not None
    assert repr(resampled[0]) == repr(resampled[1])
    current = {row.key: row for row in load_run(tmp_path / "run").scores}
    for row in load_run(tmp_path / "fresh").scores:
        assert current[row.key].value == row.value


def test_units_of_every_control_are_saved(tmp_path: Path) -> None:
    """The file has the units of each control in scores.csv, those that the plan chooses."""
    inputs = Inputs()
    inputs.make(tmp_path)
    run = load_run(tmp_path)
    cells = plan(run.stat_map, run.mask, inputs.contrast.ablate, 0).cells
    controls = {cell: cells[cell] for cell in cells if cell.control_of}

    assert len(run.controls) == 2 * 4 == len(controls) / 2
    for cell, ablation in controls.items():
        assert ablation is not None
        name = f"{cell.sites}/{cell.percent:g}/{cell.control_of}/{cell.mask}"
        np.testing.assert_array_equal(run.controls[name], np.flatnonzero(ablation.mask.selected))


def test_units_of_earlier_controls_are_kept_with_their_scores(tmp_path: Path) -> None:
    """An evaluation adds the units of its controls; a broken file is written with these alone."""
    Inputs().make(tmp_path)
    first = load_run(tmp_path).controls
    more = Inputs()
    wanted = more.contrast.ablate.model_copy(update={"percent": (10.0,)})
    run = more.run(tmp_path)
    stages = [EvaluateStage([more.task], wanted, more.contrast)]
    with locked(tmp_path):
        bring_up_to_date(run, stages, STAGES)
    both = load_run(tmp_path).controls

    assert set(first) < set(both)
    assert all(np.array_equal(both[name], units) for name, units in first.items())
    before = (tmp_path / "controls.safetensors").read_bytes()
    (tmp_path / "controls.safetensors").write_bytes(before[:-4])
    with locked(tmp_path):
        bring_up_to_date(more.run(tmp_path), stages, STAGES)
    assert set(load_run(tmp_path).controls) == {n for n in both if n not in first}


def test_no_further_controls_where_the_units_are_not_selective(tmp_path: Path) -> None:
    """Damage decides nothing then: the controls of the plan are all that are measured."""
    contrast = contrast_of(
        read={"sites": ["mlp-neurons"], "pool": "mean"},
        ablate={"controls": {"random": 19}},
        evaluate=["letters"],
        verdict={"controls": 30},
    )
    drawn = []
    for name, held_out in (("selective", WORDS), ("not", OTHERS)):
        Inputs(contrast, held_out=held_out).make(tmp_path / name)
        run = load_run(tmp_path / name)
        assert run.verdict is not None
        assert run.verdict.networks[0].answer("selective") == ("no" if name == "not" else "yes")
        drawn.append(sum(row.mask_kind == "random" for row in run.scores))

    assert drawn[0] > 19
    assert drawn[1] == 19


def test_the_lock_knows_every_file_of_a_run() -> None:
    """A folder that holds nothing else is a run folder."""
    assert {name for stage in STAGES for name in stage.files} <= set(FILES)


def test_runs_from_before_there_was_a_choice_of_statistic_stay_current(tmp_path: Path) -> None:
    """The defaults are in no input of a stage; another statistic or correction is in all."""
    by = {"fdr": 0.05, "correction": "benjamini-yekutieli"}
    runs = [Inputs(), Inputs(contrast_of(statistic="paired", select=by))]
    stages = [LocalizeStage(), SelectStage(), ReliabilityStage()]
    default, changed = ([stage.inputs(i.run(tmp_path)) for stage in stages] for i in runs)

    assert list(default[0]["contrast"]) == ["contrast", "against"]
    assert not any("correction" in json.dumps(part) for part in default)
    assert changed[0]["contrast"]["statistic"] == "paired"
    assert all("yekutieli" in json.dumps(part) for part in changed)


@pytest.mark.parametrize("stage", [*ALL, "report"])
def test_a_raised_algorithm_version_makes_a_stage_again(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of an older algorithm are not reused, whatever the version of the package."""
    inputs = Inputs(report=stage == "report")
    inputs.make(tmp_path / "run")
    (kind,) = [kind for kind in STAGES if kind.name == stage]
    monkeypatch.setattr(kind, "algorithm", kind.algorithm + 1)

    assert stage not in inputs.make(tmp_path / "run", overwrite=True)


def test_the_version_of_the_package_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patch release opens the runs of the one before."""
    Inputs().make(tmp_path / "run")
    monkeypatch.setattr("deeploc.runs.manifest.version", lambda _: "99.0")

    assert Inputs().make(tmp_path / "run") == ALL


@pytest.mark.parametrize("change", ["weights", "seed", "dtype", "stimulus", "pool"])
def test_other_inputs_are_refused_before_anything_is_changed(tmp_path: Path, change: str) -> None:
    """What was measured is never replaced unasked; the message names what differs."""
    Inputs().make(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    words = {
        "weights": r"model \(weights\)",
        "seed": r"seed \(0, now 1\)",
        "dtype": r"model \(dtype\)",
        "stimulus": r"stimuli \(abc\)",
        "pool": r"read-out \(pool\)",
    }

    with pytest.raises(RunError, match=rf"holds a run with other inputs: {words[change]}; choose"):
        CHANGES[change][0](Inputs()).make(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_scores_of_another_selection_are_neither_shown_nor_reused(tmp_path: Path) -> None:
    """The bottom 25 % and the top 25 % have other units: other scores, and the report goes."""
    tail = contrast_of(select={"percent": 25, "tail": "bottom"})
    top, bottom = Inputs(report=True), Inputs(tail, report=True)
    top.make(tmp_path)
    before = load_run(tmp_path).scores
    run = bottom.run(tmp_path)
    assert run.folder.report.exists()
    with locked(run.folder.path):
        bring_up_to_date(run, bottom.stages()[:6], STAGES)

    assert not run.folder.report.exists()
    assert not run.folder.scores.exists()
    assert load_run(tmp_path).scores == []

    bottom.make(tmp_path)
    after = load_run(tmp_path).scores
    names = {(row.sites, row.mode, row.percent, row.mask) for row in before}
    assert names == {(row.sites, row.mode, row.percent, row.mask) for row in after}
    keys = {row.key for row in before if row.mask == "selected"}
    assert not keys & {row.key for row in after if row.mask == "selected"}


def test_an_empty_selection_is_no_network(tmp_path: Path) -> None:
    """Where a rule selects no unit there is nothing to ablate, and the verdict says so."""
    Inputs(contrast_of(select={"fdr": 1e-300})).make(tmp_path)
    made = load_run(tmp_path).verdict

    assert made is not None
    assert [(network.sites, network.n_ablated) for network in made.networks] == [
        (kind, 0) for kind in SITES
    ]
    assert {conclusion(network) for network in made.networks} == {
        "No network: no unit was selected."
    }


def test_shuffled_controls_are_the_localizer_on_permuted_labels(tmp_path: Path) -> None:
    """A run, and an evaluation that reads the activations anew, ablate the same units."""
    ablate = {"mode": ["zero"], "controls": {"random": 0, "shuffled": 3}}
    inputs = Inputs(contrast_of(ablate=ablate))
    inputs.make(tmp_path / "run")
    Inputs().make(tmp_path / "later", overwrite=True)
    inputs.make(tmp_path / "later")
    keys = [
        {r.mask: r.key for r in load_run(folder).scores if (r.sites, r.mode) == ("block", "zero")}
        for folder in (tmp_path / "run", tmp_path / "later")
    ]

    assert set(keys[0]) == {"selected", "shuffled-0", "shuffled-1", "shuffled-2"}
    assert keys[0].items() <= keys[1].items()
    assert len(set(keys[0].values())) > 2


def test_what_comes_back_is_not_measured_again(tmp_path: Path) -> None:
    """Scores of a former selection are kept, and used when that selection returns."""
    first = Inputs()
    first.make(tmp_path)
    written = (tmp_path / "scores.csv").read_bytes()
    measured = first.task.measured
    other = contrast_of(select={"k": 1})
    Inputs(other, task=first.task).make(tmp_path)
    assert first.task.measured > measured

    measured = first.task.measured
    first.make(tmp_path)
    assert first.task.measured == measured
    assert (tmp_path / "scores.csv").read_bytes() == written


def test_the_selection_and_a_dose_of_the_same_size_are_two_things(tmp_path: Path) -> None:
    """The bottom 25 % is not the top 25 %, under which names it may be stored."""
    tail = {"percent": 25, "tail": "bottom"}
    Inputs(contrast_of(select=tail, ablate={"controls": {"random": 2}})).make(tmp_path)
    dosed = contrast_of(select=tail, ablate={"percent": 25, "controls": {"random": 2}})
    Inputs(dosed).make(tmp_path)
    rows = {(row.mask, row.control_of, row.percent): row for row in load_run(tmp_path).scores
            if row.sites == "mlp-neurons"}  # fmt: skip

    percent = 100 * 6 / 26  # 25 % of 26 neurons are six
    assert rows["selected", "", round(percent, 4)].key != rows["top", "", 25.0].key
    assert {name for name in rows if name[1]} == {
        (f"random-{i}", of, share)
        for i in (0, 1)
        for of, share in (("selected", round(percent, 4)), ("top", 25.0))
    }
    effects = {e.mask: e for e in load_run(tmp_path).effects if e.sites == "mlp-neurons"}
    assert {mask: len(effect.controls) for mask, effect in effects.items()} == {
        "selected": 2,
        "top": 2,
    }


def test_an_evaluation_adds_to_what_is_there(tmp_path: Path) -> None:
    """Another dose joins the scores; the report shows both."""
    Inputs(contrast_of(ablate={"percent": 10})).make(tmp_path)
    first = load_run(tmp_path).scores
    Inputs(contrast_of(ablate={"percent": 25})).make(tmp_path)
    both = load_run(tmp_path).scores

    assert {row.percent for row in both} == {0.0, 10.0, 25.0}
    assert {row.key for row in first} < {row.key for row in both}


@pytest.mark.parametrize("file", ["statmap.safetensors", "mask.safetensors", "scores.csv"])
def test_a_damaged_file_is_made_again(tmp_path: Path, file: str) -> None:
    """A byte more, or the file lost: the same command repairs the run."""
    Inputs().make(tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.name != "manifest.json"}
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-3])
    if file != "scores.csv":
        Inputs().make(tmp_path)
        after = {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.name != "manifest.json"}
        assert after == before
    (tmp_path / file).unlink()
    Inputs().make(tmp_path)
    after = {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.name != "manifest.json"}

    assert after == before


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    """The second is refused in one line; afterwards there is no trace of a lock."""
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with locked(first.path, create=True):
        refused = pytest.raises(RunError, match=r"another deeploc process is writing to .*; wait")
        with refused, locked(second.path):
            pass
        (tmp_path / "run" / "manifest.json").write_text("{}")

    with locked(second.path):
        pass
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["manifest.json"]


def test_a_script_reads_a_run(tmp_path: Path) -> None:
    """Mask, statistics, scores, profile and verdict by one call, without a model."""
    Inputs().make(tmp_path)
    run = load_run(str(tmp_path))

    assert run.mask.layout.units == run.stat_map.layout.units
    assert len(run.mask) == 12
    assert {row.task for row in run.scores} == {"letters"}
    assert {effect.mask for effect in run.effects} == {"selected"}
    assert run.profile is not None
    assert run.verdict is not None
    assert [network.sites for network in run.verdict.networks] == SITES
    assert run.verdict.primary is None  # the contrast names no task
    assert run.manifest["schema"] == 2
    assert json.loads((tmp_path / "manifest.json").read_text()) == run.manifest


def test_a_run_of_another_format_is_refused_in_one_line(tmp_path: Path) -> None:
    """The message says which deeploc wrote it."""
    (tmp_path / "manifest.json").write_text('{"schema": 1, "deeploc": "0.1.0"}')

    with pytest.raises(
        RunError, match=r"is of format 1 \(deeploc 0\.1\.0 wrote it\), this deeploc reads format 2"
    ):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("setup", "changes", "name"),
    [
        (Setup("hf:gpt2"), [], "language-gpt2"),
        (Setup("hf:openai-community/gpt2/"), [], "language-gpt2"),
        (
            Setup("hf:gpt2", ModelOptions(untrained=True, seed=1)),
            [],
            "language-gpt2-untrained-seed1",
        ),
        (
            Setup("hf:gpt2", ModelOptions(dtype="bfloat16"), 20),
            [],
            "language-gpt2-bfloat16-limit20",
        ),
        (
            Setup("timm:resnet18", ModelOptions(weights=Path("w/mine.pth"))),
            ['read.sites=["block"]'],
            "language-resnet18-mine-block",
        ),
        (Setup("hf:gpt2", folder=Path("/data/evlab")), [], "language-gpt2-stimuli-evlab"),
        (
            Setup("hf:gpt2"),
            ["select.tail=bottom", "read.pool=mean", "ablate.percent=[5]", "evaluate=[]"],
            "language-gpt2-tail-bottom-pool-mean",
        ),
        (
            Setup("hf:gpt2"),
            ["conditions.a={texts: [one, two, three, four, five, six]}"],
            "language-gpt2-a-f882daee",
        ),
    ],
)
def test_default_folder_names_what_decides_the_numbers(
    setup: Setup, changes: list[str], name: str
) -> None:
    """Device, batch size and what only adds scores are not in it."""
    assert default_folder("language", setup, changes) == Path("runs") / name


def test_differences_are_named() -> None:
    """Short values are shown, of mappings the parts that differ."""
    old = {"seed": 0, "model": {"dtype": "a", "weights": 1}, "read-out": ["x"], "gone": 1}
    new = {"seed": 1, "model": {"dtype": "b", "weights": 1}, "read-out": ["y"]}

    assert differences(old, new) == [
        "seed (0, now 1)",
        "model (dtype)",
        "read-out",
        "gone (1, now None)",
    ]


def test_a_title_is_in_the_report_and_decides_no_number(tmp_path: Path) -> None:
    """Only the report is written anew."""
    Inputs(report=True).make(tmp_path)
    reused = Inputs(contrast_of(title="something else"), report=True).make(tmp_path)

    assert reused == ALL
    assert "something else" in (tmp_path / "report.html").read_text()
