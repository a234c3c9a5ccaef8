"""The comparison of runs that the test writes by hand: numbers, tables, page."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats

from deeploc.atomic import write, write_json, write_parts
from deeploc.cli import main
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.core.verdict import Network, Reply, Verdict
from deeploc.errors import RunError
from deeploc.report.compared_verdicts import verdict_rows
from deeploc.report.comparison import answer_of, differences, other_models, render
from deeploc.report.overlaps import ComparedRuns, compare_runs
from deeploc.report.site_counts import SiteCounts, as_blocks
from deeploc.runs import files as artefacts
from deeploc.runs.find import find_runs
from deeploc.runs.saved_run import load_run

from .conftest import stat_map_of

BLOCKS = tuple(Site(f"h.{i}", "block", 10) for i in range(3))
NEURONS = tuple(Site(f"h.{i}.mlp", "mlp-neurons", 20, "input") for i in range(2))
LAYOUT = Layout((*NEURONS, *BLOCKS))
OTHER = Layout(tuple(Site(f"layers.{i}", "block", 12) for i in range(5)))
VERDICT = Verdict(
    0.05,
    "perplexity/perplexity/sentences",
    (),
    199,
    (
        Network(
            "block",
            30,
            3,
            10.0,
            (
                Reply("selective", "yes", 1e-5, 0.025),
                Reply("causal", "no", 0.3, 0.025, {"intact": 10.0, "ablated": 12.0, "z": 1.5}),
                Reply("specific", "not asked"),
            ),
        ),
    ),
)


DASH = "\N{EN DASH}"


def write_run(
    folder: Path,
    selected: Collection[int] = (0, 1, 41, 42, 43),
    *,
    layout: Layout = LAYOUT,
    seed: int = 0,
    weights: str = "xxh3:aa",
) -> Path:
    """Write a run of random statistics with a given selection, and a verdict where seed is 0."""
    folder.mkdir(parents=True)
    t = np.random.default_rng(seed).normal(size=layout.n_units)
    chosen = np.isin(np.arange(layout.n_units), list(selected))
    stat_map, mask = stat_map_of(t, layout), UnitMask(layout, chosen)
    write_parts(folder / "statmap.safetensors", artefacts.statmap_parts(stat_map))
    write_parts(folder / "mask.safetensors", artefacts.mask_parts(mask))
    write(folder / "units.csv", artefacts.units_csv(mask, stat_map))
    stages = {"localize": ["statmap.safetensors"], "select": ["mask.safetensors", "units.csv"]}
    if seed == 0:
        write_json(folder / "verdict.json", VERDICT.to_json())
        stages["verdict"] = ["verdict.json"]
    own = {"localize": {"n_units": layout.n_units, "constant_units": 0, "nonfinite_units": 0},
           "select": {"selected": {}}, "verdict": {}}  # fmt: skip
    records = {
        stage: {"key": "ef", "inputs": {}, "complete": True, **own[stage],
                "files": {name: artefacts.hash_of(folder / name) for name in names}}
        for stage, names in stages.items()
    }  # fmt: skip
    options = {"device": "auto", "dtype": "auto", "batch_size": None, "untrained": False,
               "seed": seed, "weights": None, "limit": None, "stimuli": None, "strict": False,
               "base": "."}  # fmt: skip
    contrast = {"name": "words & <i>non-words</i>", "contrast": "words > nonwords",
                "read": {"sites": ["block"]}}  # fmt: skip
    header = {"schema": 2, "deeploc": "0.1.0", "created": "2026-01-02T03:04:05+00:00",
              "command": "deeploc run", "address": "hf:some/model", "model": {"weights": weights},
              "contrast": contrast, "options": options, "stimuli": {}, "unreadable": [],
              "sites": layout.table(), "versions": {}}  # fmt: skip
    write_json(folder / "manifest.json", {**header, **records})
    return folder


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Return a folder of three runs of one model and one of another, and what is no run."""
    folder = tmp_path / "runs"
    write_run(folder / "a")
    write_run(folder / "b <b>", (1, 2, 42, 43, 44), seed=1)
    write_run(folder / "c", (), seed=2, weights="xxh3:bb")
    write_run(folder / "other", (3,), layout=OTHER, seed=3)
    (folder / "dissociate-a-c").mkdir()
    (folder / "notes.txt").write_text("no run", encoding="utf-8")
    return folder


def deeploc(*arguments: str | Path) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def names_of(compared: ComparedRuns) -> Sequence[str]:
    return [run.folder.path.name for run in compared.runs]


def test_the_numbers_of_a_pair_are_scipys(tmp_path: Path) -> None:
    """Sites are matched by name, whatever their order: correlations and p are SciPy's."""
    turned = Layout((*reversed(BLOCKS), Site("h.0.mlp", "mlp-neurons", 19, "input")))
    first = write_run(tmp_path / "a")  # selects units 1, 2 and 3 of h.0
    second = write_run(tmp_path / "b", (22, 23, 24, 5), layout=turned, seed=1)
    (pair,) = compare_runs([first, second]).pairs
    t = load_run(first).stat_map.t[40:]
    other = load_run(second).stat_map.t[:30].reshape(3, 10)[::-1].ravel()

    assert pair.sites == "block"
    assert (pair.overlap.first, pair.overlap.second, pair.overlap.both) == (3, 4, 2)
    assert pair.overlap.expected == pytest.approx(3 * 4 / 30)
    table = [[2, 1], [2, 25]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert pair.overlap.p == pytest.approx(expected)
    assert pair.r == pytest.approx(stats.pearsonr(t, other).statistic)
    assert pair.rho == pytest.approx(stats.spearmanr(t, other).statistic)


def test_a_folder_of_runs_is_its_runs(three: Path) -> None:
    """The runs in a folder are compared by name; what is no run is passed over."""
    assert names_of(compare_runs([three])) == ["a", "b <b>", "c", "other"]
    assert names_of(compare_runs([three / "c", three / "a"])) == ["c", "a"]


def test_an_unfinished_run_of_a_folder_is_left_out_and_named(three: Path) -> None:
    """It is told on stderr, in the JSON document and on the page; named itself, it is an error."""
    (three / "b <b>" / "mask.safetensors").unlink()
    compared = compare_runs([three])
    printed = deeploc("compare", three)

    assert names_of(compared) == ["a", "c", "other"]
    assert "left out: " in printed.stderr
    assert "mask.safetensors is missing" in printed.stderr
    assert compared.to_json()["left_out"][0]["run"] == str(three / "b <b>")
    assert "Left out: " in render(compared)
    with pytest.raises(RunError, match="is missing or not as"):
        compare_runs([three / "a", three / "b <b>"])


@pytest.mark.parametrize("only", [(), ("a",)])
def test_a_folder_without_two_runs_is_one_line(three: Path, only: Sequence[str]) -> None:
    """A folder of no run, or of one, says what it holds."""
    for name in {"a", "b <b>", "c", "other"} - set(only):
        (three / name / "manifest.json").unlink()
    result = deeploc("compare", three)

    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    expected = "1 run to compare; name at least two" if only else "is no run and holds none"
    assert expected in result.output


def test_a_run_is_compared_once(three: Path) -> None:
    """A folder and a run in it name that run twice."""
    with pytest.raises(RunError, match="named twice"):
        find_runs([three, three / "a"])


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    """Runs of one name are called by as much of their path as differs."""
    runs = [write_run(tmp_path / "x" / "run"), write_run(tmp_path / "y" / "run", seed=1)]
    assert compare_runs([*runs, write_run(tmp_path / "z", seed=2)]).names == (
        "x/run",
        "y/run",
        "z",
    )


def test_sites_are_counted() -> None:
    """Counts, shares and the peak of a selection made by hand; chance is the share of units."""
    mask = UnitMask(LAYOUT, np.isin(np.arange(70), (0, 41, 42, 69)))
    counts = SiteCounts.of(mask, "block")

    assert counts is not None
    assert (counts.counts, counts.names[counts.peak]) == ((2, 0, 1), "h.0")
    assert counts.shares == pytest.approx([2 / 3, 0, 1 / 3])
    assert counts.chance == pytest.approx([1 / 3] * 3)
    assert SiteCounts.of(mask, "head") is None


def test_blocks_show_every_selected_unit() -> None:
    """The smallest share is one step high, none is a space, and neighbours are added up."""
    assert as_blocks([1.0, 0.001, 0.0, 0.5], 10) == "█▁ ▄"
    assert as_blocks([0.0, 0.0], 10) == "  "
    assert as_blocks([1.0] * 100, 32) == "".join("█" if i < 4 else "▆" for i in range(32))


def test_verdicts_stand_side_by_side(three: Path) -> None:
    """A cell per run and question; a dash where a run has no verdict or was not asked."""
    rows = verdict_rows(compare_runs([three]).runs[:2], "block")
    shown = {label: [cell.text for cell in cells] for label, cells in rows.items()}

    assert shown["selective"] == ["yes", DASH]
    assert shown["specific"] == [DASH, DASH]
    assert shown["units ablated"] == ["3", DASH]
    assert (shown["primary intact"][0], shown["primary ablated"][0]) == ("10.0", "12.0")
    assert rows["causal"][0].details == ("p = 0.3", "level 0.025")
    assert rows["primary ablated"][0].details == ("z = 1.5",)
    assert verdict_rows(compare_runs([three]).runs, "head") == {}


def test_the_answer_is_corrected_for_all_pairs(tmp_path: Path) -> None:
    """Three of three units of 30 shared (p = 1/4060) are more than by chance, one of two is not.

    One of two blocks units shared: p = 1 - C(28, 2) / C(30, 2) = 57/435.
    """
    runs = [
        write_run(tmp_path / "a", (40, 41, 42)),
        write_run(tmp_path / "b", (40, 41, 42), seed=1),
    ]
    assert "share 3 of their 3 and 3 selected units, more than by chance (0.300 expected" in (
        answer_of(compare_runs(runs), "block")
    )
    runs = [write_run(tmp_path / "c", (40, 41)), write_run(tmp_path / "d", (41, 42), seed=1)]
    assert "no more than by chance (0.133 expected, p = 0.13)" in (
        answer_of(compare_runs(runs), "block")
    )
    assert "runs 1 and 2 select 0 and 0 units" in answer_of(compare_runs(runs), "mlp-neurons")


def test_the_answer_about_many_pairs_counts_them(tmp_path: Path) -> None:
    """Of three pairs one is beyond chance after Holm's correction for all six comparisons.

    Jaccard is 1 for the first pair and 1/5 for the others, whose p of 0.28 is no evidence.
    """
    chosen = [(40, 41, 42), (40, 41, 42), (42, 50, 51)]
    runs = [write_run(tmp_path / str(i), units, seed=i) for i, units in enumerate(chosen)]
    assert answer_of(compare_runs(runs), "block") == (
        "1 of 3 pairs of runs have more units in common than by chance; "
        "Jaccard 0.20 to 1.00, median 0.20"
    )


def test_what_differs_between_runs_is_named(three: Path) -> None:
    """Settings that all runs share are left out, and so is the device."""
    compared = compare_runs([three])
    rows = differences(compared.manifests)

    assert rows["seed"] == ["0", "1", "2", "3"]
    assert rows["hash of the weights"] == ["xxh3:aa", "xxh3:aa", "xxh3:bb", "xxh3:aa"]
    assert set(rows) == {"seed", "hash of the weights"}
    assert other_models(compared) == [(1, 3), (2, 3)]


def test_no_legend_without_a_table(tmp_path: Path) -> None:
    """Runs without a common site have no table of overlaps, and no words about one."""
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", (1,), layout=OTHER, seed=1)]
    printed = deeploc("compare", *runs).stdout

    assert "no two of these runs have a site in common" in printed
    for word in ("chance:", "hypergeometric", "Pearson", "Jaccard"):
        assert word not in printed
    assert "No two of these runs have a site in common" in (
        (tmp_path / "compare.html").read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(("n_runs", "n_units"), [(15, 400), (2, 400_000)])
def test_tables_fit_80_columns(tmp_path: Path, n_runs: int, n_units: int) -> None:
    """Many runs, or large ones, with long names and a large seed."""
    name = "model.decoder.layers.{}.mlp.down_projection"
    sites = tuple(Site(name.format(i), "mlp-neurons", n_units, "input") for i in range(4))
    folder = tmp_path / "runs"
    for i in range(n_runs):
        name = f"language-some-organisation-some-model-untrained-seed{i}"
        chosen = range(i, n_units // 10 + i)
        write_run(folder / name, chosen, layout=Layout(sites), seed=123_456_780 + i)
    printed = deeploc("compare", folder)

    assert printed.exit_code == 0, printed.output
    assert max(map(len, printed.stdout.splitlines())) <= 80
    size = f"{n_units // 10:,}"
    assert re.search(f"1 and 2 +{size}, {size} +{4 * n_units:,}", printed.stdout)
    for i in range(n_runs):
        assert f"-seed{i}" in printed.stdout


class Page(HTMLParser):
    """A page as a browser takes it apart: tags with attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_one_file_without_script_or_network(three: Path) -> None:
    """No address of any kind but data, no script, balanced tags, each id once, names escaped."""
    html = render(compare_runs([three]))
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    links = [value or "" for _, attributes in page.tags for name, value in attributes.items()
             if name in ("src", "href", "xlink:href")]  # fmt: skip
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]

    assert page.open == []
    assert not tags & {"script", "link", "iframe", "img", "b <b>"}
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "url(http" not in html
    assert len(ids) == len(set(ids))
    assert "b &lt;b&gt;" in html
    assert "words &amp; &lt;i&gt;non-words" in html
    assert render(compare_runs([three])) == html


def test_every_figure_of_the_page_has_a_text(three: Path) -> None:
    """Two kinds of site and all pairs that share one: named, and described by their numbers."""
    page = Page(render(compare_runs([three])))
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    text = " ".join(page.words)

    assert len(figures) == 2 + 3 * 2  # a, b, c at two kinds; other shares no site
    assert all(f["role"] == "img" and f["aria-labelledby"] for f in figures)
    assert "run 1: most in h.0, 3 of 3; run 2: most in h.0, 3 of 3" in text
    assert "run 3: no unit is selected" in text


def test_many_runs_are_not_plotted_against_each_other(tmp_path: Path) -> None:
    """Of five runs, the page has the correlations only."""
    for i in range(5):
        write_run(tmp_path / "runs" / f"{i}", seed=i)
    page = Page(render(compare_runs([tmp_path / "runs"])))

    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "at most 4 are compared" in " ".join(page.words)


def test_where_the_page_is_written(three: Path, tmp_path: Path) -> None:
    """Beside the first run, or where -o says, told on stderr; with --json only there."""
    document = deeploc("compare", three, "--json")
    assert not (three / "compare.html").exists()
    assert len(json.loads(document.stdout)["runs"]) == 4

    named = deeploc("compare", three, "--json", "-o", tmp_path / "page.html")
    assert json.loads(named.stdout) == json.loads(document.stdout)
    printed = deeploc("compare", three / "a", three / "c")
    assert printed.stderr == f"page: {three / 'compare.html'}\n"
    assert (three / "compare.html").is_file()
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_page_that_cannot_be_written_is_one_line(three: Path) -> None:
    """Another kind of file is refused before anything is read; a missing folder is made, but not
    where a file is in its way."""
    wrong = deeploc("compare", three, "-o", three / "a" / "manifest.json")
    nowhere = deeploc("compare", three, "-o", three / "a" / "manifest.json" / "page.html")
    made = deeploc("compare", three, "-o", three / "new" / "pages" / "page.html")

    assert wrong.exit_code == 2
    assert "-o must end in .html" in wrong.output
    assert made.exit_code == 0
    assert (three / "new" / "pages" / "page.html").is_file()
    assert nowhere.exit_code == 1
    assert "cannot write" in nowhere.stderr.splitlines()[-1]


_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "transformers", "timm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from deeploc.cli import main
main(sys.argv[1:], standalone_mode=False)
"""
"""A command of a machine on which no framework is installed."""


def test_compare_and_report_work_without_torch(whole_run: Path, tmp_path: Path) -> None:
    """A copy of a run where no framework can be imported: both pages are written."""

    copy = Path(shutil.copytree(whole_run, tmp_path / "runs" / "copy"))
    (copy / "report.html").unlink()
    write_run(tmp_path / "runs" / "other", layout=OTHER)
    environment = {**os.environ, "DEEPLOC_CACHE_DIR": str(tmp_path)}
    for command in (["report", copy], ["compare", tmp_path / "runs"]):
        line = [sys.executable, "-c", _WITHOUT, *map(str, command)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    assert (copy / "report.html").is_file()
    assert (tmp_path / "runs" / "compare.html").is_file()
