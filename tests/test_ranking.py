"""Units ranked by the gradient of a loss: in a contrast, in a run, in the verdict."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc import plugins
from deeploc.analysis.objective import contrast_terms
from deeploc.analysis.planning import plan
from deeploc.cli import main
from deeploc.contrast import model as contrasts
from deeploc.contrast.model import Contrast
from deeploc.core.ablation import Ablation
from deeploc.core.attributing import attribute, require_loss
from deeploc.core.controls import MaskLabel
from deeploc.core.judging import verdict
from deeploc.core.readout import Readout
from deeploc.core.results import Cell
from deeploc.core.selection import count_of
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import AdapterError, ContrastError, TaskError
from deeploc.experiment import localize_run, run_all
from deeploc.report.verdict_text import conclusion, lines_of, rule_of
from deeploc.runs.files import load_tensors
from deeploc.runs.folder import RunFolder
from deeploc.runs.inputs import sampled_stimuli, tasks_of
from deeploc.runs.run import Run
from deeploc.runs.setup import Setup
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .conftest import stat_map_of
from .test_stages import contrast_of
from .test_verdict import DECIDING, SPREAD, damage, evidence


def language(tmp_path: Path, tiny_lm: Path, contrast_file: Path, *changes: str) -> tuple[Any, ...]:
    """Return a small contrast, the setup of a run and its folder."""
    plain = ["select.percent=10", "verdict.untrained=false", *changes]
    contrast = contrasts.load(contrast_file, plain)
    return contrast, Setup(f"hf:{tiny_lm}"), tmp_path / "run"


def test_terms_of_a_contrast_are_its_sides_and_weights() -> None:
    """Each side is a mean over its stimuli; weights are those of the conditions."""
    sets = {"abc": [Stimulus("1", "a b"), Stimulus("2", "b a")], "def": [Stimulus("3", "d e")]}
    pooled = contrast_terms(contrast_of(), sets)
    weighted = contrast_terms(contrast_of(contrast={"abc": 2, "def": -2}), sets)
    assert [(term.example, term.weight) for term in pooled] == [
        (sets["abc"][0], 0.5),
        (sets["abc"][1], 0.5),
        (sets["def"][0], -1.0),
    ]
    assert [term.weight for term in weighted] == [1.0, 1.0, -2.0]
    assert all(term.per_token for term in pooled)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"by": "attribution", "fdr": 0.05}, "fdr needs the statistic"),
        ({"by": "gradient", "percentile": [80, 90]}, "percentile needs the statistic"),
        ({"of": "perplexity"}, "of goes with `by: attribution`"),
        ({"steps": 3}, "steps goes with"),
        ({"baseline": "mean"}, "baseline goes with"),
        ({"by": "attribution", "of": "perplexty"}, "'perplexty' is no task of this contrast"),
        ({"by": "attribution", "steps": 0}, "greater than or equal to 1"),
        ({"by": "ablation"}, "by"),
    ],
)
def test_rankings_that_cannot_be_meant_are_one_line(select: dict[str, Any], message: str) -> None:
    """What needs p, or belongs to another ranking, is refused when the contrast is read."""
    with pytest.raises(ContrastError, match=message):
        Contrast.from_json({**contrast_of().to_json(), "select": select}, Path())


def test_shuffled_labels_have_no_attribution() -> None:
    """The control ranks by the statistic of permuted labels."""
    changes = {"select": {"by": "gradient"}, "ablate": {"controls": {"shuffled": 2}}}
    with pytest.raises(ContrastError, match="shuffled labels have no gradient"):
        Contrast.from_json({**contrast_of().to_json(), **changes}, Path())


def test_a_contrast_that_ranks_by_its_statistic_is_written_as_before() -> None:
    """Runs from before there was another ranking stay current."""
    assert set(contrast_of().to_json()["select"]) == {
        *("k", "percent", "fdr", "correction", "percentile", "tail", "seed")
    }
    ranked = contrast_of(select={"by": "gradient", "steps": 2})
    assert Contrast.from_json(ranked.to_json(), Path()).select == ranked.select


def test_doses_and_controls_follow_the_ranking(layout: Layout, rng: np.random.Generator) -> None:
    """Top, bottom and opposite are of the ranking, not of t."""
    t, ranking = rng.normal(size=(2, layout.n_units))
    stat_map = replace(stat_map_of(t, layout), ranking=ranking)
    ablate = contrast_of(
        ablate={"percent": 25, "controls": {"bottom": True, "opposite": True}}
    ).ablate
    nothing = UnitMask(layout, np.zeros(layout.n_units, dtype=bool))
    cells = plan(stat_map, nothing, ablate, 0).cells
    for kind in layout.kinds:
        units = np.flatnonzero(layout.of_kind(kind))
        k = count_of(25, len(units))
        order = units[np.argsort(ranking[units])]
        for name, expected in (("top", order[-k:]), ("bottom", order[:k])):
            base = "top" if name == "bottom" else ""
            mask = cells[Cell(kind, "zero", 25, name, base)].mask
            assert set(np.flatnonzero(mask.selected)) == set(expected)
    opposite = cells[Cell("block", "zero", 25, MaskLabel("opposite").name, "top")].mask
    top = cells[Cell("block", "zero", 25, "top")].mask
    for site in layout.sites[2:]:
        part = ranking[layout.slices[site.name]]
        n = int(top.at(site.name).sum())
        assert set(np.flatnonzero(opposite.at(site.name))) == set(np.argsort(part)[:n])


def test_a_run_selects_by_attribution(tmp_path: Path, tiny_lm: Path, contrast_file: Path) -> None:
    """Ranking, selection, table, doses and verdict are of the attribution; t is still there."""
    changes = ("select.by=attribution", "ablate.percent=10", "ablate.controls.random=2")
    contrast, setup, folder = language(tmp_path, tiny_lm, contrast_file, *changes)
    run = run_all(contrast, setup, folder)
    ranking, layout = load_tensors(folder / "ranking.safetensors")
    expected = direct(run)
    np.testing.assert_allclose(ranking["attribution"], expected.attribution, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(run.stat_map.scores, ranking["attribution"])
    assert not np.allclose(run.stat_map.t, ranking["attribution"])
    for kind in layout.kinds:
        units = np.flatnonzero(layout.of_kind(kind))
        k = count_of(10, len(units))
        best = units[np.argsort(-ranking["attribution"][units], kind="stable")[:k]]
        assert set(np.flatnonzero(run.mask.of_kind(kind).selected)) == set(best)
    rows = list(csv.DictReader((folder / "units.csv").read_text().splitlines()))
    scores = [float(row["ranking"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["ranking"]["n_terms"] == 12
    assert manifest["ranking"]["value"] == pytest.approx(expected.value)
    verdict_of = RunFolder(folder).read_verdict()
    assert {network.by for network in verdict_of.networks} == {"attribution"}
    assert "by attribution" in (folder / "report.html").read_text()


def direct(run: Run) -> Any:
    """Return the attribution of the contrast, without stages."""
    everything = UnitMask(run.layout, np.ones(run.layout.n_units, dtype=bool))
    terms = contrast_terms(run.contrast, run.stimuli.localizing)
    return attribute(run.adapter, terms, Ablation(everything), Readout.of(run.contrast.read))


def test_rankings_are_reused_and_made_again(
    tmp_path: Path, tiny_lm: Path, contrast_file: Path
) -> None:
    """Attribution and gradient come from the same passes; another loss is another ranking."""

    def made(*changes: str) -> tuple[int, np.ndarray, dict[str, Any]]:
        contrast, setup, folder = language(tmp_path, tiny_lm, contrast_file, *changes)
        run = localize_run(contrast, setup, folder)
        file = folder / "ranking.safetensors"
        manifest = json.loads((folder / "manifest.json").read_text())
        return file.stat().st_mtime_ns if file.exists() else 0, run.mask.selected, manifest

    first, attribution, _ = made("select.by=attribution")
    again, gradient, _ = made("select.by=gradient")
    assert again == first
    assert (attribution != gradient).any()
    other, _, manifest = made("select.by=gradient", "select.of=perplexity")
    assert other != first
    assert manifest["ranking"]["inputs"]["objective"]["of"] == "perplexity"
    meaned, by_mean, _ = made("select.by=attribution", "select.baseline=mean")
    assert meaned != other
    _, by_zero, _ = made("select.by=attribution")
    assert (by_mean != by_zero).any()
    file = tmp_path / "run" / "ranking.safetensors"
    file.unlink()
    _, restored, _ = made("select.by=attribution")
    np.testing.assert_array_equal(restored, by_zero)


ITEMS = [
    {"prompt": "the old cat", "completion": " sees a dog"},
    {"prompt": "a bird", "completion": " chases the old dog"},
]
QUESTIONS = [
    {"question": "the cat", "options": '["sees", "dax"]', "answer": "sees"},
    {"question": "the old red", "options": '["wug", "bird"]', "answer": "bird"},
]


@pytest.mark.parametrize(
    ("task", "metric", "sign"),
    [
        ("perplexity", "nll", 1),
        ("continuation", "nll", 1),
        ("minimal-pairs", "margin", -1),
        ("choice", "logprob", -1),
    ],
)
def test_the_loss_of_a_task_is_what_it_measures(
    task: str, metric: str, sign: int, tmp_path: Path, tiny_lm: Path, contrast_file: Path
) -> None:
    """The objective of a task is its metric in nats, averaged over items."""
    for name, rows in (("items", ITEMS), ("questions", QUESTIONS)):
        lines = "\n".join(map(json.dumps, rows))
        (tmp_path / f"{name}.jsonl").write_text(lines)
    evaluate = [
        "perplexity",
        {"continuation": {"x": {"file": "items.jsonl"}}},
        {"minimal-pairs": {"grammar": {"file": "pairs.jsonl"}}},
        {"choice": {"prompt": "{question}", "x": {"file": "questions.jsonl"}}},
    ]
    contrast = contrasts.load(contrast_file, [f"evaluate={json.dumps(evaluate)}"])
    setup, adapter = Setup(f"hf:{tiny_lm}"), plugins.load_model(f"hf:{tiny_lm}")
    made = {t.name: t for t in tasks_of(contrast, setup, sampled_stimuli(contrast, setup))}[task]
    made.prepare(adapter)
    everything = UnitMask(adapter.sites, np.ones(adapter.sites.n_units, dtype=bool))
    loss = require_loss(made, task).loss()
    found = attribute(adapter, loss, Ablation(everything), Readout())
    (measured, *_) = (m for m in made.measure(adapter) if m.metric == metric)
    per_item = measured.amount / measured.weight
    assert found.value == pytest.approx(sign * per_item.mean(), rel=1e-4)


def test_tasks_without_a_loss_are_one_line(
    tmp_path: Path, tiny_lm: Path, contrast_file: Path
) -> None:
    """A probe has no loss of the model's own."""
    with pytest.raises(TaskError, match="task 'probe' has no loss"):
        require_loss(object(), "probe")
    changes = ("select.by=attribution", "select.of=text-probe", 'evaluate=["text-probe"]')
    contrast, setup, folder = language(tmp_path, tiny_lm, contrast_file, *changes)
    with pytest.raises(ContrastError, match="task 'text-probe' has no loss"):
        localize_run(contrast, setup, folder)


def test_models_without_a_loss_are_one_line() -> None:
    """An adapter that lacks the ability is named before anything is read."""
    everything = UnitMask(ToyAdapter.sites, np.ones(ToyAdapter.sites.n_units, dtype=bool))
    with pytest.raises(AdapterError, match="toy has no loss whose gradient can be taken"):
        attribute(ToyAdapter(), [], Ablation(everything), Readout())


def test_the_chain_of_other_rankings_begins_with_causal() -> None:
    """Units that the contrast did not rank need not prefer it: that is described."""
    unselective = evidence(damage(0.3, SPREAD), damage(0.89, SPREAD), t=-2.0, p=0.04)
    by = replace(unselective, by="attribution")
    (plain,) = verdict([unselective], DECIDING, 199).networks
    made = verdict([by], DECIDING, 199)
    (ranked,) = made.networks
    assert [plain.answer(q) for q in ("selective", "causal")] == ["no", "not asked"]
    assert [ranked.answer(q) for q in ("selective", "causal", "specific")] == ["no", "yes", "yes"]
    assert ranked.reply("selective").level is None
    assert ranked.reply("causal").p == 1 / 200
    assert conclusion(ranked) == (
        "Causal units, specific to the primary outcome; they do not prefer the contrast."
    )
    reasons = {question: reason for question, _, reason in lines_of(ranked, made)}
    assert reasons["selective"].startswith("held-out d = \N{MINUS SIGN}0.400")
    assert "not corrected" in reasons["selective"]
    assert reasons["reliable"].endswith("units are ranked by attribution")
    assert rule_of(made).startswith("Any false yes among causal and specific has")


def test_other_rankings_keep_the_error_rate() -> None:
    """Damage that one random set in ten does as well is no yes."""
    weak = replace(evidence(damage(0.885, SPREAD)), by="gradient")
    (network,) = verdict([weak], DECIDING, 199).networks
    assert network.answer("causal") == "no"
    assert conclusion(network) == (
        "No causal units: random ones do as much; they prefer the contrast."
    )


def test_localize_says_what_units_are_ranked_by(
    tmp_path: Path, tiny_lm: Path, contrast_file: Path
) -> None:
    """The printed table and the JSON document name the ranking."""
    command = ["localize", str(contrast_file), "-m", f"hf:{tiny_lm}", "-o", str(tmp_path / "r")]
    command += ["--set", "select.by=gradient", "--set", "verdict.untrained=false", "-q"]
    plain = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "ranked by gradient\n" in plain.stdout
    as_json = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout)["ranked_by"] == "gradient"
