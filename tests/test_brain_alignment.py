"""Brain alignment: what units tell of measured responses, and that it is no lesion."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeploc.cli import main
from deeploc.contrast.model import Contrast, load
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.core.task import Reading, TaskContext
from deeploc.core.unit_task import READ
from deeploc.core.units import Layout
from deeploc.errors import PluginError, TaskError
from deeploc.runs.evaluating import EvaluateStage
from deeploc.runs.saved_run import load_run
from deeploc.stimuli import Stimulus
from deeploc.tasks._encoding import correlation, explained, folds_of_blocks, held_out
from deeploc.tasks.brain_alignment import BrainAlignment, make

from .test_stages import Inputs, Letters

ALPHAS = [0.1, 1.0, 10.0, 100.0]


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def task_of(path: Path, limit: int | None = None, **options: Any) -> BrainAlignment:
    context = TaskContext({}, (), path.parent, limit=limit)
    return make({"responses": path.name, "alpha": ALPHAS, **options}, context)


def text_of(number: int) -> str:
    return f"sentence {number:04d}"


def rows_of(y: np.ndarray, per_passage: int = 4) -> list[dict[str, Any]]:
    """Return a wide table of responses ``(stimulus, response)``, four sentences a passage."""
    return [
        {
            "stimulus": text_of(number),
            "passage": f"p{number // per_passage:03d}",
            **{f"s{k}": repr(float(value)) for k, value in enumerate(own)},
        }
        for number, own in enumerate(y)
    ]


def values(measured: Sequence[Measurement]) -> dict[str, float]:
    return {
        f"{each.metric}/{each.condition}": float(each.amount.sum() / each.weight.sum())
        for each in measured
    }


def linear(rng: np.random.Generator, n: int, p: int, noise: float) -> tuple[Any, Any]:
    """Return units and a response that is a sum of them, of variance 1, plus noise."""
    x = rng.normal(size=(n, p))
    weights = rng.normal(size=p)
    y = x @ (weights / np.linalg.norm(weights)) + noise * rng.normal(size=n)
    return x, y[:, None]


def test_r2_is_that_of_the_noise(rng: np.random.Generator, tmp_path: Path) -> None:
    """A response with signal variance 1 and noise variance 1 has R² = 1/2 and r = 0.71."""
    n, p, noise = 2000, 5, 1.0
    x, y = linear(rng, n, p, noise)
    task = task_of(write_table(tmp_path / "y.csv", rows_of(y)))
    found = values(task.measure_units(x))
    training = n * 4 / 5
    expected = 1 - noise**2 * (1 + p / training) / (1 + noise**2)
    error = 2 * np.sqrt(expected) * (1 - expected) / np.sqrt(n)  # Olkin & Finn (1995), asymptotic

    assert found["r2/all"] == pytest.approx(expected, abs=4 * error)
    assert found["r/all"] == pytest.approx(np.sqrt(expected), abs=4 * error)


def test_shuffled_responses_are_not_predicted(rng: np.random.Generator, tmp_path: Path) -> None:
    """Responses in random order have r = 0 within four standard errors, and R² not above 0."""
    x, y = linear(rng, 1000, 5, 0.5)
    task = task_of(write_table(tmp_path / "y.csv", rows_of(rng.permutation(y))))
    found = values(task.measure_units(x))

    assert abs(found["r/all"]) < 4 / np.sqrt(1000)
    assert found["r2/all"] < (4 / np.sqrt(1000)) ** 2


def test_numbers_are_those_of_scikit_learn(rng: np.random.Generator, tmp_path: Path) -> None:
    """r is the mean over folds and responses of SciPy's r, R² that of the squared errors."""
    x, y = linear(rng, 60, 8, 1.0)
    y = np.hstack([y, rng.normal(size=(60, 1)) + x[:, :1]])
    task = task_of(write_table(tmp_path / "y.csv", rows_of(y)), folds=3)
    found = values(task.measure_units(x))
    passages = [f"p{number // 4:03d}" for number in range(60)]
    r = np.empty((3, 2))
    missed, total = np.zeros(2), np.zeros(2)
    for fold, (train, test) in enumerate(GroupKFold(3).split(x, groups=passages)):
        for response in range(2):
            model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
            predicted = model.fit(x[train], y[train, response]).predict(x[test])
            measured = y[test, response]
            r[fold, response] = pearsonr(predicted, measured).statistic
            missed[response] += ((measured - predicted) ** 2).sum()
            total[response] += ((measured - y[train, response].mean()) ** 2).sum()

    assert found["r/all"] == pytest.approx(r.mean(), abs=1e-10)
    assert found["r/all/s1"] == pytest.approx(r[:, 1].mean(), abs=1e-10)
    assert found["r2/all"] == pytest.approx((1 - missed / total).mean(), abs=1e-10)
    assert found["r2/all/s0"] == pytest.approx(1 - missed[0] / total[0], abs=1e-10)


def test_a_response_that_differs_between_passages_only_is_not_predicted(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """Units that name the passage predict nothing of a new one, and all of a shuffled split."""
    passages = np.repeat(np.arange(30), 4)
    x = np.eye(30)[passages]
    y = rng.normal(size=30)[passages][:, None]
    task = task_of(write_table(tmp_path / "y.csv", rows_of(y)))
    leaking = held_out(x, y, rng.permutation(np.arange(120) % 5), ALPHAS)

    assert values(task.measure_units(x))["r/all"] < 0.2
    assert correlation(leaking).mean().scores[0] > 0.9


def test_no_passage_is_in_two_folds(rng: np.random.Generator, tmp_path: Path) -> None:
    """Passages of unequal sizes stay whole, and folds are about equally large."""
    rows = rows_of(rng.normal(size=(97, 1)), per_passage=1)
    for row in rows:
        row["passage"] = f"p{rng.integers(20)}"
    responses = task_of(write_table(tmp_path / "y.csv", rows))
    folds, groups = responses._folds, np.array(responses._responses.groups)

    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 8


def test_nothing_of_a_fold_is_used_to_predict_it(rng: np.random.Generator) -> None:
    """Other responses in the tested fold, or other units of one stimulus, change no prediction."""
    x, y = linear(rng, 80, 6, 1.0)
    folds = folds_of_blocks(80, 4)
    before = held_out(x, y, folds, ALPHAS).predicted
    changed = y.copy()
    changed[folds == 1] = 1e6 * rng.normal(size=(20, 1))
    other = x.copy()
    other[0] = 1e6

    np.testing.assert_array_equal(
        held_out(x, changed, folds, ALPHAS).predicted[folds == 1], before[folds == 1]
    )
    same = held_out(other, y, folds, ALPHAS).predicted
    np.testing.assert_allclose(same[1:20], before[1:20], rtol=1e-12)
    assert not np.allclose(held_out(x, changed, folds, ALPHAS).predicted[folds == 0], before[:20])


def test_missing_responses_are_left_out(rng: np.random.Generator) -> None:
    """A response to half of the stimuli is fitted and tested on these alone, whatever the other."""
    x, y = linear(rng, 90, 4, 0.7)
    folds = folds_of_blocks(90, 3)
    some = rng.permutation(90) < 45
    both = np.hstack([y, np.where(some[:, None], y, np.nan)])
    alone = held_out(x[some], y[some], folds[some], ALPHAS)
    held = held_out(x, both, folds, ALPHAS)

    np.testing.assert_allclose(held.predicted[some, 1], alone.predicted[:, 0], rtol=1e-10)
    assert np.isnan(held.predicted[~some, 1]).all()
    for score in (correlation, explained):
        assert score(held).scores[1] == pytest.approx(score(alone).scores[0], abs=1e-10)
        assert score(held).mean().scores[0] == pytest.approx(score(held).scores.mean())


def test_folds_with_fewer_than_two_responses_are_left_out(rng: np.random.Generator) -> None:
    """r is then the mean over the other folds; a response without any has no score."""
    x, y = linear(rng, 40, 3, 0.5)
    folds = folds_of_blocks(40, 4)
    sparse, alone = y.copy(), np.full((40, 1), np.nan)
    sparse[1:10], sparse[folds == 1] = np.nan, 2.0
    alone[:2] = y[:2]
    held = held_out(x, np.hstack([y, sparse, alone]), folds, ALPHAS)
    r = [
        pearsonr(held.predicted[folds == fold, 1], y[folds == fold, 0]).statistic for fold in (2, 3)
    ]

    assert correlation(held).scores[1] == pytest.approx(np.mean(r), abs=1e-12)
    assert np.isnan(correlation(held).scores[2])
    assert correlation(held).weights.sum(axis=0).tolist() == pytest.approx([4, 2, 0])


def test_one_penalty_is_that_of_ridge_regression(rng: np.random.Generator, tmp_path: Path) -> None:
    """Nothing is chosen then; a number stands for a list of one."""
    x, y = linear(rng, 40, 3, 0.5)
    task = task_of(write_table(tmp_path / "y.csv", rows_of(y)), folds=2, alpha=3.0)
    passages = [f"p{number // 4:03d}" for number in range(40)]
    r = []
    for train, test in GroupKFold(2).split(x, groups=passages):
        model = make_pipeline(StandardScaler(), Ridge(3.0)).fit(x[train], y[train, 0])
        r.append(pearsonr(model.predict(x[test]), y[test, 0]).statistic)

    assert values(task.measure_units(x))["r/all"] == pytest.approx(np.mean(r), abs=1e-10)


def test_constant_predictions_and_units_are_worth_nothing(rng: np.random.Generator) -> None:
    """Units that do not vary, or are not finite, predict the mean: r = 0 and R² = 0."""
    y = rng.normal(size=(40, 1))
    x = np.ones((40, 3))
    x[3, 1] = np.nan
    held = held_out(x, y, folds_of_blocks(40, 4), ALPHAS)

    assert correlation(held).scores[0] == 0
    assert explained(held).scores[0] == pytest.approx(0, abs=1e-12)


def test_what_length_explains_is_told_apart(rng: np.random.Generator, tmp_path: Path) -> None:
    """Units that know the length predict nothing beyond it; a signal beside it is what remains."""
    words = rng.integers(3, 20, size=400)
    texts = [" ".join([f"w{number}", *["x"] * n]) for number, n in enumerate(words)]
    signal = rng.normal(size=400)
    y = words / words.std() + signal
    rows = [
        {"stimulus": text, "passage": f"p{n // 4}", "value": repr(float(value))}
        for n, (text, value) in enumerate(zip(texts, y, strict=True))
    ]
    task = task_of(write_table(tmp_path / "y.csv", rows))
    passages = [stimulus.content for stimulus in task.reading(Layout(())).stimuli]
    order = [texts.index(str(text)) for text in passages]
    of_length, of_both = (
        values(task.measure_units(x[order]))
        for x in (words[:, None].astype(float), np.column_stack([words, signal]))
    )

    assert of_length["r/all"] == pytest.approx(of_length["r-length/all"], abs=0.02)
    assert abs(of_length["r-beyond-length/all"]) < 4 / np.sqrt(400)
    assert of_both["r-length/all"] == of_length["r-length/all"]
    assert of_both["r-beyond-length/all"] > 0.99


def test_normalized_r_is_r_over_the_ceiling(rng: np.random.Generator, tmp_path: Path) -> None:
    """Each response is divided by its own ceiling, then averaged; one number is that of all."""
    x, y = linear(rng, 60, 4, 0.5)
    long = [
        {"stimulus": text_of(n), "passage": f"p{n // 3}", "subject": s, "value": v, "top": c}
        for n in range(60)
        for s, v, c in (("a", y[n, 0], 0.5), ("b", y[n, 0] + rng.normal(), 0.25))
    ]
    path = write_table(tmp_path / "long.csv", long)
    found = values(task_of(path, ceiling="top").measure_units(x))
    same = values(task_of(path, ceiling=0.5, value="value").measure_units(x))
    tops = [{"response": "b", "ceiling": 0.25}, {"response": "a", "ceiling": 0.5}]
    write_table(tmp_path / "tops.csv", tops)
    listed = values(task_of(path, ceiling="tops.csv", value="value").measure_units(x))

    ratios = found["r/all/a"] / 0.5, found["r/all/b"] / 0.25
    assert found["r-normalized/all"] == pytest.approx(np.mean(ratios))
    assert listed == found
    assert same["r-normalized/all"] == pytest.approx(same["r/all"] / 0.5)
    assert "r-normalized/all" not in values(task_of(path, value="value").measure_units(x))


def test_items_are_passages_where_they_are_known(rng: np.random.Generator, tmp_path: Path) -> None:
    """With passages the bootstrap resamples these; without, a notice says what blocks are."""
    x, y = linear(rng, 40, 3, 0.5)
    rows = rows_of(y)
    grouped = task_of(write_table(tmp_path / "grouped.csv", rows))
    for row in rows:
        del row["passage"]
    blocks = task_of(write_table(tmp_path / "blocks.csv", rows))

    assert len(grouped.measure_units(x)[0].amount) == 10
    assert len(blocks.measure_units(x)[0].amount) == 40
    assert grouped.notices == ()
    assert "which passage" in blocks.notices[0]
    np.testing.assert_array_equal(blocks._folds, np.repeat(range(5), 8))


def test_the_order_of_rows_does_not_matter(rng: np.random.Generator, tmp_path: Path) -> None:
    """With passages a shuffled file gives the same numbers bit by bit; so does a long one."""
    x, y = linear(rng, 48, 3, 0.5)
    y = np.hstack([y, rng.normal(size=(48, 1))])
    rows = rows_of(y)
    long = [
        {"stimulus": r["stimulus"], "passage": r["passage"], "subject": s, "value": r[s]}
        for r in rows
        for s in ("s0", "s1")
    ]
    units = {text_of(number): x[number] for number in range(48)}
    made = [
        task_of(write_table(tmp_path / f"{n}.csv", [table[i] for i in order]))
        for n, (table, order) in enumerate(
            [(rows, range(48)), (rows, rng.permutation(48)), (long, rng.permutation(96))]
        )
    ]
    found = [
        values(
            task.measure_units(
                np.stack([units[s.content] for s in task.reading(Layout(())).stimuli])
            )
        )
        for task in made
    ]

    assert found[0] == found[1] == found[2]
    assert made[0].identity == made[1].identity == made[2].identity


def test_a_limit_keeps_whole_passages(rng: np.random.Generator, tmp_path: Path) -> None:
    """At most so many texts in whole passages, though never fewer than the folds need."""
    path = write_table(tmp_path / "y.csv", rows_of(rng.normal(size=(80, 1))))
    for limit, n in ((40, 40), (4, 20)):
        responses = task_of(path, limit=limit)._responses
        groups = list(responses.groups or ())
        assert len(groups) == n
        assert {groups.count(group) for group in groups} == {4}


WRONG = {
    "no file": ("", {"responses": "none.csv"}, "no file matches 'none.csv'"),
    "no column": ("text,value\na,1\n", {}, "no column 'stimulus'"),
    "no number": ("stimulus,value\na,1\nb,high\n", {}, "y.csv:3: 'high' in column 'value'"),
    "infinite": ("stimulus,value\na,1\nb,inf\n", {}, "y.csv:3: 'inf' in column 'value'"),
    "twice": ("stimulus,value\na,1\na,2\n", {}, "y.csv:3: a second response of 'value'"),
    "no text": ("stimulus,value\na,1\n ,2\n", {}, "y.csv:3: no text in 'stimulus'"),
    "no response": ("stimulus\na\nb\n", {}, "no column of responses beside stimulus"),
    "two passages": (
        "stimulus,passage,subject,value\na,p,x,1\na,q,y,2\n",
        {},
        "y.csv:3: the text of y.csv:2 again, in passage 'q' instead of 'p'",
    ),
    "no passage": ("stimulus,passage,value\na,p,1\nb,,2\n", {}, "y.csv:3: no passage"),
    "few passages": (
        "stimulus,passage,value\n" + "".join(f"{i},p{i % 3},{i}\n" for i in range(30)),
        {},
        "3 passages, and 5 folds need at least 5",
    ),
    "few texts": ("stimulus,value\na,1\nb,2\nc,1\n", {"folds": 2}, "3 texts, and 2 folds"),
    "all missing": (
        "stimulus,value\n" + "".join(f"{i},\n" for i in range(30)),
        {},
        "every response is missing",
    ),
    "two ceilings": (
        "stimulus,value,c\na,1,0.5\nb,1,0.4\n",
        {"ceiling": "c"},
        "y.csv:3: a ceiling of 0.4 for 'value', which had 0.5",
    ),
    "ceiling of 2": ("stimulus,value,c\na,1,2\n", {"ceiling": "c"}, "2 is no noise ceiling"),
    "no netCDF": ("these are no bytes", {"responses": "y.nc"}, "y.nc"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_line(tmp_path: Path, case: str) -> None:
    """The line names the file, the place and what is wrong with it."""
    text, options, expected = WRONG[case]
    (tmp_path / options.get("responses", "y.csv").replace("none", "y")).write_text(text)
    with pytest.raises(TaskError) as error:
        task_of(tmp_path / "y.csv", **options)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ceiling", [2, 0, -0.5])
def test_a_number_that_is_no_ceiling_is_one_line(ceiling: float, tmp_path: Path) -> None:
    """It is told what a number must be, and not also that it is no name of a column."""
    (tmp_path / "y.csv").write_text("stimulus,value\na,1\n")
    (tmp_path / "c.yaml").write_text(
        "name: c\ntitle: c\nmodality: text\nsource: own\ncontrast: a > b\n"
        "conditions: {a: {builtin: sentences, limit: 4}, b: {builtin: nonword-lists, limit: 4}}\n"
        "read: {sites: block}\nablate: {percent: 1}\n"
        f"evaluate: [{{brain-alignment: {{responses: y.csv, ceiling: {ceiling}}}}}]\n"
    )
    result = CliRunner().invoke(main, ["check", str(tmp_path / "c.yaml")])

    (line,) = result.stderr.strip().splitlines()
    assert f"brain-alignment.ceiling is {ceiling}; it must be " in line


def test_netcdf_is_read_as_a_table_is(rng: np.random.Generator, tmp_path: Path) -> None:
    """An array of stimuli and neuroids gives the numbers of the table of the same responses."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    x, y = linear(rng, 40, 3, 0.5)
    y = np.hstack([y, rng.normal(size=(40, 1))])
    y[5, 1] = np.nan
    rows = rows_of(y)
    xarray.DataArray(
        y.T,
        dims=("neuroid", "presentation"),
        coords={
            "stimulus": ("presentation", [row["stimulus"] for row in rows]),
            "passage_label": ("presentation", [row["passage"] for row in rows]),
            "subject": ("neuroid", ["s0", "s1"]),
            "ceiling": ("neuroid", [0.5, 0.8]),
        },
        name="responses",
    ).to_netcdf(tmp_path / "y.nc")
    read = task_of(tmp_path / "y.nc", group="passage_label", ceiling="ceiling")
    table = task_of(write_table(tmp_path / "y.csv", rows))
    found, expected = (values(task.measure_units(x)) for task in (read, table))

    assert {name: found[name] for name in expected} == expected
    assert found["r-normalized/all/s1"] == pytest.approx(found["r/all/s1"] / 0.8)
    with pytest.raises(TaskError, match="no coordinate 'text'"):
        task_of(tmp_path / "y.nc", stimulus="text")


def test_netcdf_without_xarray_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line says what to install."""
    (tmp_path / "y.nc").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(TaskError, match=r"needs xarray: `pip install 'deeploc\[brain\]'`"):
        task_of(tmp_path / "y.nc")


@dataclass
class Sums:
    """The sum over the units of a mask, text by text; counts how often it is asked."""

    name: str = "sums"
    metrics: Mapping[str, str] = field(default_factory=lambda: {"sum": "higher"})
    identity: Mapping[str, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    stop_after: int = 1000

    def reading(self, layout: Layout) -> Reading:
        texts = ("abc", "aab", "def", "ccc")
        stimuli = tuple(Stimulus(str(number), text) for number, text in enumerate(texts))
        return Reading(stimuli, layout, Readout(pool="mean"))

    def measure_units(self, activations: np.ndarray) -> list[Measurement]:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(activations.shape[1])
        return [Measurement("sum", "all", activations.sum(axis=1), np.ones(4))]


@dataclass
class WithSums(Inputs):
    """A run with a task under ablation and one on units."""

    sums: Sums = field(default_factory=Sums)

    def stages(self) -> list[Any]:
        tasks = [self.sums, self.task]
        evaluate = EvaluateStage(tasks, self.contrast.ablate, self.contrast)
        return [evaluate if s.name == "evaluate" else s for s in super().stages()]


def test_units_are_read_once_for_every_mask_and_never_ablated(tmp_path: Path) -> None:
    """A row per mask whatever the modes, of mode `read`: sums that the intact model gives."""
    inputs = WithSums()
    inputs.make(tmp_path)
    run = load_run(tmp_path)
    rows = [row for row in run.scores if row.task == "sums"]
    reading = inputs.sums.reading(run.mask.layout)
    (batches,) = [list(inputs.run(tmp_path).adapter.activations(*vars(reading).values()))]
    activations = np.concatenate([batch.values for batch in batches])

    assert {row.mode for row in rows} == {READ}
    assert {row.mode for row in run.scores if row.task == "letters"} == {"none", "zero", "mean"}
    assert len(rows) == 2 * (1 + 3 + 1)
    for row in rows:
        units = np.flatnonzero(run.mask.selected & run.mask.layout.of_kind(row.sites))
        if row.control_of:
            units = run.controls[f"{row.sites}/{row.percent:g}/{row.control_of}/{row.mask}"]
        assert row.value == pytest.approx(activations[:, units].sum(axis=1).mean())


def test_what_units_tell_is_no_lesion(tmp_path: Path) -> None:
    """Verdict and effects are those of a run without the task; its advantages stand apart."""
    WithSums(task=Letters(letter="b")).make(tmp_path / "with")
    Inputs(task=Letters(letter="b")).make(tmp_path / "without")
    both = [load_run(tmp_path / name) for name in ("with", "without")]
    verdicts = [(run.folder.path / "verdict.json").read_bytes() for run in both]

    assert verdicts[0] == verdicts[1]
    assert both[0].effects == both[1].effects
    assert both[1].advantages == []
    for each in both[0].advantages:
        as_good = sum(value >= each.value for value in each.controls)
        assert each.p == (1 + as_good) / (1 + 3)
        assert [name for name, _ in each.others] == ["bottom"]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Masks that were measured are not measured again, and the scores are those of a whole run."""
    whole = WithSums()
    whole.make(tmp_path / "whole")
    broken = WithSums(sums=Sums(stop_after=3))
    with pytest.raises(KeyboardInterrupt):
        broken.make(tmp_path / "broken")
    rest = WithSums()
    rest.make(tmp_path / "broken")
    files = [(tmp_path / name / "scores.csv").read_bytes() for name in ("whole", "broken")]

    assert files[0] == files[1]
    assert len(broken.sums.asked) + len(rest.sums.asked) == len(whole.sums.asked)
    again = WithSums()
    assert "evaluate" in again.make(tmp_path / "broken")
    assert again.sums.asked == []


def test_an_image_contrast_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    """The task reads texts: one line says so before anything is read."""
    write_table(tmp_path / "y.csv", rows_of(rng.normal(size=(40, 1))))
    images = {"faces": (Stimulus("a.png", tmp_path / "a.png"),)}
    context = TaskContext({}, (), tmp_path, localizing=images)
    with pytest.raises(TaskError, match="are images; leave it out"):
        make({"responses": "y.csv"}, context)


def test_a_reading_of_something_else_is_one_line(tmp_path: Path) -> None:
    """What a task reads is of all sites of the run, else it is named."""

    class Elsewhere(Sums):
        def reading(self, layout: Layout) -> Reading:
            stimuli = super().reading(layout).stimuli
            return Reading(stimuli, Layout(layout.sites[:1]), Readout(pool="mean"))

    with pytest.raises(PluginError, match=r"`reading` of task 'sums' returned Reading"):
        WithSums(sums=Elsewhere()).make(tmp_path)


def test_a_run_on_a_language_model(tiny_lm: Path, contrast_file: Path) -> None:
    """The command prints the table, the report has it, and --json has every advantage."""
    folder = contrast_file.parent
    rng = np.random.default_rng(0)
    lines = (folder / "sentences.txt").read_text().split("\n")
    rows = [
        {"text": f"{line} {word}", "passage": f"p{n}", "response": rng.normal()}
        for n, line in enumerate(lines[:10])
        for word in ("cat", "dog")
    ]
    write_table(folder / "responses.csv", rows)
    text = contrast_file.read_text().replace(
        "evaluate:\n",
        "evaluate:\n  - brain-alignment: {responses: responses.csv, stimulus: text,"
        " value: response}\n",
    )
    contrast_file.write_text(text)
    command = ["run", str(contrast_file), "-m", f"hf:{tiny_lm}", "-o", str(folder / "run")]
    first = CliRunner().invoke(main, [*command, "-q", "--set", "verdict.untrained=false"])
    assert first.exit_code == 0, first.output
    run = load_run(folder / "run")
    again = CliRunner().invoke(main, ["evaluate", str(folder / "run"), "-q", "--json"])
    told = json.loads(again.output)["advantages"]
    lines = [line for line in first.output.splitlines() if str(folder) not in line]

    assert "brain-alignment, mlp-neurons: the top 10 % of the units, read" in first.output
    assert max(map(len, lines)) <= 80
    assert "What the selected units tell" in (folder / "run" / "report.html").read_text("utf-8")
    assert [each["value"] for each in told] == [each.value for each in run.advantages]
    assert {e["metric"] for e in told} == {"r", "r2", "r-length", "r-beyond-length"}
    assert {e.task for e in run.effects} == {"perplexity", "minimal-pairs"}
    assert (folder / "run" / "verdict.json").read_text().count("brain-alignment") == 0


def test_the_shipped_contrast_reads_the_folder(tmp_path: Path) -> None:
    """--stimuli names the folder of the responses; the localizer stays that of `language`."""
    rows = [{"": n, "Sentence": text_of(n), "EffectSize": n % 7} for n in range(20)]
    write_table(tmp_path / "pereira2018_averaged.csv", rows)
    shipped, language = load("pereira2018"), load("language")
    command = ["check", "pereira2018", "--limit", "4"]
    given = CliRunner().invoke(main, [*command, "--stimuli", str(tmp_path)])
    absent = CliRunner().invoke(main, command)

    assert given.exit_code == 0, given.output
    assert "tasks: brain-alignment" in given.output
    assert absent.exit_code == 1
    assert "--stimuli DIR" in absent.output
    for name, source in language.conditions.items():
        assert shipped.conditions[name].builtin == source.builtin
        assert shipped.conditions[name].limit == source.limit
    assert (shipped.read, shipped.select, shipped.split) == (
        language.read,
        language.select,
        language.split,
    )
    assert isinstance(shipped, Contrast)


def test_every_passage_can_be_a_fold(rng: np.random.Generator, tmp_path: Path) -> None:
    """With as many folds as passages the split is scikit-learn's LeaveOneGroupOut."""
    y = rng.normal(size=(24, 1))
    task = task_of(write_table(tmp_path / "y.csv", rows_of(y)), folds=6)
    groups = np.array(task._responses.groups)
    expected = {tuple(test) for _, test in LeaveOneGroupOut().split(y, groups=groups)}

    assert {tuple(np.flatnonzero(task._folds == fold)) for fold in range(6)} == expected
