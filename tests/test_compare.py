"""Overlap of selections, and runs side by side from their folders."""

import json
import shutil
from collections.abc import Sequence
from itertools import combinations
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats

from deeploc.cli import main
from deeploc.contrast import model as contrasts
from deeploc.core.overlap import Overlap, correlation, rank_correlation
from deeploc.core.units import UnitMask
from deeploc.experiment import localize_run, run_all
from deeploc.parameters import attribute_parameters
from deeploc.report.overlaps import compare_runs
from deeploc.report.parameters import agreements, tensor_sums
from deeploc.runs.saved_run import load_run
from deeploc.runs.setup import Setup


def deeploc(*arguments: str | Path) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_overlap_of_a_hand_made_case() -> None:
    """Three of 5 and 4 units shared among 20: p by counting every selection."""
    a, b = np.zeros((2, 20), dtype=bool)
    a[:5], b[2:6] = True, True
    overlap = Overlap.of(a, b)
    draws = [len({0, 1, 2, 3, 4} & set(draw)) for draw in combinations(range(20), 4)]
    assert (overlap.first, overlap.second, overlap.both) == (5, 4, 3)
    assert overlap.jaccard == 3 / 6
    assert overlap.dice == 6 / 9
    assert overlap.expected == pytest.approx(np.mean(draws))
    assert overlap.p == pytest.approx(np.mean(np.array(draws) >= 3))


def test_overlap_is_fishers_exact_test(rng: np.random.Generator) -> None:
    """The p is that of SciPy's test of the table of both selections."""
    for _ in range(20):
        a, b = rng.random((2, 60)) < rng.uniform(0.1, 0.6)
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert Overlap.of(a, b).p == pytest.approx(expected)


def test_empty_selections_have_no_share() -> None:
    """Nothing shared with nothing is certain, and a share of it is not a number."""
    nothing = Overlap.of(*np.zeros((2, 7), dtype=bool))
    assert isnan(nothing.jaccard)
    assert isnan(nothing.dice)
    assert (nothing.expected, nothing.p) == (0.0, 1.0)


def test_correlations_are_scipys(rng: np.random.Generator) -> None:
    """Over the units that are finite in both; a constant has none."""
    a, b = rng.normal(size=(2, 40))
    b += a
    with_gap = b.copy()
    with_gap[3] = nan
    kept = np.arange(40) != 3
    expected = stats.spearmanr(a[kept], b[kept]).statistic
    assert rank_correlation(a, with_gap) == pytest.approx(expected)
    assert correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert isnan(correlation(a, np.ones(40)))


@pytest.fixture(scope="module")
def made(
    tiny_lm: Path, shared_contrast: Path, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Path]:
    """Return a run by the contrast, one by attribution, and one of blocks only."""
    place = tmp_path_factory.mktemp("compared")
    folders = [place / name for name in ("contrast", "attribution", "blocks")]
    changes = (["ablate.controls.random=2"], ["select.by=attribution"], ["read.sites=block"])
    for folder, own in zip(folders, changes, strict=True):
        contrast = contrasts.load(shared_contrast, ["verdict.untrained=false", *own])
        make = run_all if folder.name == "contrast" else localize_run
        make(contrast, Setup(f"hf:{tiny_lm}"), folder)
    return folders


@pytest.fixture
def runs(made: Sequence[Path], tmp_path: Path) -> Sequence[Path]:
    """Return copies of these runs, which a test may change."""
    return [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in made]


def test_runs_are_compared_from_their_folders(runs: Sequence[Path]) -> None:
    """Overlaps are those of the masks, correlations those of t, over the sites that both have."""
    compared = compare_runs(runs)
    found = {(pair.first, pair.second, pair.sites): pair for pair in compared.pairs}
    assert set(found) == {
        (0, 1, "mlp-neurons"),
        (0, 1, "block"),
        (0, 2, "block"),
        (1, 2, "block"),
    }
    first, second, third = (load_run(folder) for folder in runs)
    for kind in first.mask.layout.kinds:
        both = first.mask.of_kind(kind).selected & second.mask.of_kind(kind).selected
        pair = found[0, 1, kind]
        assert pair.overlap.both == both.sum()
        assert pair.overlap.n_units == first.mask.layout.of_kind(kind).sum()
        assert pair.r == pytest.approx(1.0)  # t does not depend on the ranking
    blocks = first.mask.layout.of_kind("block")
    np.testing.assert_array_equal(first.mask.selected[blocks], third.mask.selected)
    assert found[0, 2, "block"].overlap.jaccard == 1.0


def test_compare_prints_tables_and_json(runs: Sequence[Path]) -> None:
    """Tables of at most 80 columns with every run and question, and the same numbers as JSON."""
    printed = deeploc("compare", *runs)
    assert printed.exit_code == 0, printed.output
    assert max(map(len, printed.stdout.splitlines())) <= 80
    for word in ("attribution", "selected units, block", "1 and 2", "causal", "Jaccard"):
        assert word in printed.stdout
    document = json.loads(deeploc("compare", *runs, "--json").stdout)
    assert [run["ranked_by"] for run in document["runs"]] == ["contrast", "attribution", "contrast"]
    overlap = document["overlaps"][0]["overlap"]
    assert set(overlap) >= {"both", "jaccard", "dice", "expected", "p"}
    assert document["runs"][0]["verdict"]["networks"]
    assert document["runs"][1]["verdict"] is None


def test_compare_refuses_what_it_cannot_compare(runs: Sequence[Path], tmp_path: Path) -> None:
    """One run, the same run twice, and a folder that is no run are one line each."""
    assert deeploc("compare", runs[0]).exit_code == 2
    twice = deeploc("compare", runs[0], runs[0])
    assert twice.exit_code == 1
    assert "is named twice" in twice.output
    nowhere = deeploc("compare", runs[0], tmp_path / "nowhere")
    assert nowhere.exit_code == 1
    assert "is no run" in nowhere.output
    (runs[1] / "ranking.safetensors").unlink()
    damaged = deeploc("compare", runs[0], runs[1])
    assert damaged.exit_code == 1
    assert len(damaged.output.splitlines()) == 1


def test_parameters_say_whether_gradients_point_to_the_units(runs: Sequence[Path]) -> None:
    """Sums per tensor, rows per unit, and the overlap of the largest rows with the selection."""
    folder = attribute_parameters(runs[0])
    sums = tensor_sums(folder)
    totals = [tensor.total for tensor in sums]
    assert totals == sorted(totals, reverse=True)
    assert sum(tensor.share for tensor in sums) == pytest.approx(1.0)
    saved = load_run(runs[0])
    by_kind = {agreement.sites: agreement for agreement in agreements(folder)}
    assert set(by_kind) == set(saved.mask.layout.kinds)
    for kind, agreement in by_kind.items():
        mask: UnitMask = saved.mask.of_kind(kind)
        assert agreement.overlap.first == agreement.overlap.second == len(mask)
        assert -1 <= agreement.correlation <= 1
    before = (runs[0] / "parameters.csv").stat().st_mtime_ns
    attribute_parameters(runs[0])
    assert (runs[0] / "parameters.csv").stat().st_mtime_ns == before
    attribute_parameters(runs[0], "perplexity")
    assert (runs[0] / "parameters.csv").stat().st_mtime_ns != before


def test_parameters_prints_its_answer(runs: Sequence[Path]) -> None:
    """A table of tensors, one of kinds of site, and one line where there is no such loss."""
    printed = deeploc("parameters", runs[2], "-q")
    assert printed.exit_code == 0, printed.output
    lines = [line for line in printed.stdout.splitlines() if str(runs[2]) not in line]
    assert max(map(len, lines)) <= 80
    assert "in top rows" in printed.stdout
    document = json.loads(deeploc("parameters", runs[2], "--json", "-q").stdout)
    assert document["kinds"][0]["overlap"]["expected"] >= 0
    wrong = deeploc("parameters", runs[2], "--of", "nothing", "-q")
    assert wrong.exit_code == 1
    assert "there is no task 'nothing' in this contrast" in wrong.output
