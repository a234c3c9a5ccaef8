"""The report of a run folder that the test writes by hand."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc.atomic import write, write_json, write_parts
from deeploc.core.responses import Response
from deeploc.core.responses import to_csv as profile_csv
from deeploc.core.results import Score, from_csv, to_csv
from deeploc.core.stats import ALPHA
from deeploc.core.units import Layout, Site, StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.report.html import render
from deeploc.runs import files as artefacts

LAYOUT = Layout(
    (
        *(Site(f"h.{i}.mlp.act", "mlp-neurons", 40) for i in range(3)),
        *(Site(f"h.{i}", "block", 10) for i in range(2)),
    )
)
TASKS = {
    "perplexity": {"metrics": {"perplexity": "lower", "nll": "lower"}, "items": {}, "key": "p"},
    "continuation": {"metrics": {"exact-match": "higher"}, "items": {}, "key": "c"},
}
FILES = {
    "localize": ["statmap.safetensors"],
    "select": ["mask.safetensors", "units.csv"],
    "profile": ["profile.csv"],
    "evaluate": ["scores.csv"],
}
MANIFEST: dict[str, Any] = {
    "schema": 2,
    "deeploc": "0.1.0",
    "created": "2026-01-02T03:04:05+00:00",
    "command": "deeploc run language -m reference:lm",
    "address": "reference:lm",
    "model": {"model": "reference:lm", "parameters": 250000, "odd": {"a": [1, None]}},
    "contrast": {
        "name": "language",
        "title": "Sentences > non-words",
        "source": "Fedorenko et al. (2010)",
        "contrast": "sentences > nonwords",
        "against": "pooled",
        "read": {"sites": ["mlp-neurons", "block"], "pool": "last", "response": "signed",
                 "tokens": "content", "max_tokens": None, "lowercase": False},
        "split": "half",
        "modality": "text",
        "conditions": {"sentences": {"texts": ["a", "b"]}, "nonwords": {"texts": ["c", "d"]}},
        "select": {"percent": 5.0, "tail": "top"},
        "ablate": {"mode": ["zero"], "percent": [5.0]},
    },
    "options": {"device": "auto", "dtype": "auto", "batch_size": None, "untrained": False,
                "seed": 0, "weights": None, "limit": None, "stimuli": None, "strict": False,
                "base": "."},
    "stimuli": {
        "sentences": {"n": 240, "localize": 120, "evaluate": 120, "sha256": "ab" * 32,
                      "sha256_evaluate": "ba" * 32, "samples": ["the dog sleeps .", "x" * 400]},
        "nonwords": {"n": 240, "localize": 120, "evaluate": 120, "sha256": "cd" * 32,
                     "sha256_evaluate": "dc" * 32, "samples": ["bafe lom"]},
    },
    "unreadable": [],
    "sites": LAYOUT.table(),
    "localize": {"key": "ef" * 32, "inputs": {}, "n_units": 140, "constant_units": 2,
                 "nonfinite_units": 0},
    "select": {"key": "aa" * 32, "inputs": {}, "selected": {"mlp-neurons": 6, "block": 1}},
    "evaluate": {"key": "bb" * 32, "inputs": {}, "tasks": TASKS, "cells": [],
                 "notices": ["0.1 % of 20 block units is no unit: not ablated"]},
    "versions": {"python": "3.11.7"},
}  # fmt: skip

SUMMARY = (
    "Ablating the top 5 % of mlp-neurons (6 of 120 units, mode zero) raised perplexity "
    "(sentences) from 17.7 to 26.3 (none of 20 random controls did as much damage, p = 0.048). "
    "Continuation exact-match (copying) went from 0.980 to 0.970 (7 of 20 random controls did "
    "as much damage, p = 0.38)."
)


def scores() -> list[Score]:
    """Perplexity is beyond random, nll infinite, copying as random; 20 controls."""
    values = {
        ("perplexity", "perplexity", "sentences"): (17.7, 26.3, [17.8] * 20),
        ("perplexity", "nll", "sentences"): (2.87, float("inf"), [2.88] * 20),
        ("continuation", "exact-match", "copying"): (0.98, 0.97, [0.96] * 7 + [0.98] * 13),
    }
    rows = []
    for place, (intact, ablated, controls) in values.items():
        at = (*place, "zero", 5.0)
        keys = {"task_key": place[0][0], "key": "k"}
        rows.append(Score(*place, "none", 0.0, "none", intact, 60, intact, intact, **keys))
        at_neurons = {"sites": "mlp-neurons", "control_of": "top", **keys}
        low, high = ablated - 1, ablated + 2
        rows.append(Score(*at, "top", ablated, 60, low, high, "mlp-neurons", **keys))
        rows += [
            Score(*at, f"random-{i}", value, 60, value, value, **at_neurons, mask_kind="random")
            for i, value in enumerate(controls)
        ]
        rows.append(Score(*at, "bottom", 0.123, 60, 0.1, 0.2, **at_neurons, mask_kind="bottom"))
    return rows


def seal(folder: Path) -> Path:
    """Record the files of a run and the cells of its scores as the stages do."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for stage, names in FILES.items():
        if stage in manifest:
            files = {name: artefacts.hash_of(folder / name) for name in names}
            manifest[stage]["files"] = {name: known for name, known in files.items() if known}
    if "evaluate" in manifest:
        fields = ("sites", "mode", "percent", "mask", "control_of", "key")
        rows = from_csv((folder / "scores.csv").read_text(encoding="utf-8"))
        cells = {tuple(getattr(row, field) for field in fields) for row in rows}
        manifest["evaluate"]["cells"] = [dict(zip(fields, cell, strict=True)) for cell in cells]
    write_json(folder / "manifest.json", manifest)
    return folder


def write_run(folder: Path) -> Path:
    t = np.linspace(-4, 4, LAYOUT.n_units)
    means = {"sentences": t, "nonwords": -t}
    stat_map = StatMap(LAYOUT, t, t, abs(t), abs(t), t, t, abs(t), means)
    selected = np.zeros(LAYOUT.n_units, dtype=bool)
    selected[[100, 105, 110, 115, 118, 119, 139]] = True
    mask = UnitMask(LAYOUT, selected)
    write_parts(folder / "statmap.safetensors", artefacts.statmap_parts(stat_map))
    write_parts(folder / "mask.safetensors", artefacts.mask_parts(mask))
    write(folder / "units.csv", artefacts.units_csv(mask, stat_map))
    write(folder / "scores.csv", to_csv(scores()))
    write_json(folder / "manifest.json", MANIFEST)
    return seal(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    write_json(path, manifest)


class Page(HTMLParser):
    """A page as a browser takes it apart: tags with attributes, ids, and the text."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the run as it is written above: many tests read it, one rendering serves."""
    return render(write_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def text(html: str) -> str:
    return Page(html).text


def test_the_summary_states_the_result(text: str):
    """Verdicts, values, dose, number of units and controls are in the first paragraph."""
    assert SUMMARY in text


def test_every_outcome_is_in_a_table(text: str):
    """A row gives n, intact, ablated with interval, controls, damage, z, p and q.

    z = 60 log(26.3 / 17.8), as the controls are equal; q = 3/2 p for the two smallest of three p.
    """
    assert (
        "perplexity ↓ perplexity, sentences 60 17.7 26.3 25.3 to 28.3 17.8 17.8 to 17.8 "
        "bottom 0.123 +8.60 23.4 0.048 0.071"
    ) in text
    assert "exact-match ↑ continuation, copying 60 0.980 0.970" in text
    assert "0.980 0.960 to 0.980 bottom 0.123 +0.0100 0.180 0.38 0.38" in text


def test_the_own_selection_and_a_dose_are_labelled_apart(run: Path):
    """Both in one run: two tables, and the summary is on the selection."""
    names = {"top": "selected", "random-0": "random-0"}
    own = [replace(row, mask=names.get(row.mask, row.mask), percent=5.8333, key="own",
                   control_of=names.get(row.control_of, ""))
           for row in scores() if row.mask == "top" or row.control_of]  # fmt: skip
    (run / "scores.csv").write_text(to_csv([*scores(), *own]), encoding="utf-8")
    seal(run)
    page = Page(render(run))
    regions = [dict(attributes).get("aria-label") for _, attributes in page.tags]

    assert "mlp-neurons, zero, top 5 % · 6 of 120 units" in page.text
    assert "mlp-neurons, zero, selected units · 6 of 120 units" in page.text
    assert (
        "Ablating the selected units of mlp-neurons (6 of 120 units, mode zero) raised" in page.text
    )
    assert "mlp-neurons, zero, selected units" in regions


def test_the_number_of_controls_for_a_verdict_follows_the_level(text: str):
    """The legend names the smallest number of controls with which p can be significant."""
    needed = next(n for n in range(1, 100) if 1 / (1 + n) <= ALPHA)

    assert f"it can fall to {ALPHA} only with {needed} of them" in text


def test_infinity_is_written_as_a_sign(text: str):
    """An infinite value is neither lost nor written as a word."""
    assert "60 2.87 ∞ ∞ to ∞ 2.88 2.88 to 2.88 bottom 0.123 +∞ ∞ 0.048 0.071" in text


def test_the_same_run_gives_the_same_bytes(html: str, run: Path):
    """A report depends on nothing but the files of its run, wherever these lie."""
    assert render(run) == html


def test_a_run_without_scores_reports_the_localization_only(run: Path):
    """After `deeploc localize` there is a report that claims no effect."""
    (run / "scores.csv").unlink()
    edit(run, lambda manifest: manifest.pop("evaluate"))
    text = Page(render(run)).text

    assert "Of 120 mlp-neurons units at 3 sites, 6 were selected (t ≥ 1.76)." in text
    assert "nothing was ablated" in text
    assert "specific" not in text


@pytest.mark.parametrize("file", ["statmap.safetensors", "mask.safetensors", "units.csv",
                                  "scores.csv"])  # fmt: skip
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_that_is_not_as_recorded_is_refused(run: Path, file: str, damage: str):
    """Numbers of another run, or changed by hand, are never reported."""
    if damage == "missing":
        (run / file).unlink()
    else:
        (run / file).write_bytes((run / file).read_bytes() + b"\n")

    with pytest.raises(RunError, match=rf"{file} is missing or not as '\w+' wrote it"):
        render(run)


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_page_is_well_formed_and_its_ids_unique(run: Path, evaluated: bool):
    """Every tag that is opened is closed in order; no id is used twice."""
    if not evaluated:
        edit(run, lambda manifest: manifest.pop("evaluate"))
    page = Page(render(run))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]

    assert page.open == []
    assert len(ids) == len(set(ids))


def test_a_page_loads_nothing_and_runs_only_its_own_script(html: str):
    """One script, allowed by its hash; no frame, no attribute that points outside the page."""
    tags = {tag for tag, _ in Page(html).tags}
    attributes = [item for _, values in Page(html).tags for item in values.items()]
    points = ("src", "href", "xlink:href", "action", "data")
    links = [value for name, value in attributes if name in points or name.startswith("on")]

    script = html[html.index("<script>") + len("<script>") : html.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert [values for tag, values in Page(html).tags if tag == "script"] == [{}]
    assert f"script-src 'sha256-{digest}'" in html
    assert not tags & {"link", "img", "iframe", "object", "embed", "form", "base"}
    assert links
    assert all(str(link).startswith("#") for link in links)
    assert "@import" not in html
    assert "url(http" not in html


def test_hostile_words_are_escaped(run: Path):
    """Titles, stimuli, notices and names of conditions stay text."""
    evil = "<script>alert('1')</script>\"><img src=x onerror=y> $\\frac{ {{ 7 * 7 }}"
    rows = [Score(**{**{f: getattr(r, f) for f in r.__slots__}, "condition": evil})
            for r in scores()]  # fmt: skip
    (run / "scores.csv").write_text(to_csv(rows), encoding="utf-8")
    seal(run)

    def change(manifest: dict[str, Any]) -> None:
        manifest["contrast"] |= {"title": evil, "notes": evil, "source": evil}
        manifest["stimuli"]["sentences"]["samples"] = [evil]
        manifest["model"][evil] = evil
        manifest["evaluate"]["notices"] = [evil]

    edit(run, change)
    page = Page(render(run))

    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == ["script"]
    assert page.text.count(evil) > 8


def test_methods_follow_the_manifest(text: str):
    """The paragraph states how units were read, selected, ablated and compared."""
    assert "Stimuli were 240 sentences and 240 nonwords. A random half of each condition" in text
    assert "signed activation was read at the last token that ends a word at every site" in text
    assert "The selection was the top 5 % of units by t, for each kind of site separately" in text
    assert "by setting them to 0, at doses of the top 5 % of the units of a kind." in text
    assert "20 matched random controls" in text
    assert "the smallest possible p is 0.048" in text


def test_images_that_were_left_out_are_named(run: Path):
    """How many, the first twenty of them, and why."""
    left = [{"condition": "faces", "stimulus": f"{i}.jpg", "reason": "is cut"} for i in range(25)]
    edit(run, lambda manifest: manifest.update(unreadable=left))
    text = Page(render(run)).text

    assert "25 stimuli could not be read and were left out" in text
    assert "faces: 19.jpg is cut" in text
    assert "20.jpg" not in text


@pytest.mark.parametrize(
    ("pool", "read", "edited"),
    [
        ("mean", "was read averaged over positions at every site", "at every position of every"),
        ("none", "each a separate unit, at every site", "each at its position of every"),
    ],
)
def test_methods_name_positions_for_images(run: Path, pool: str, read: str, edited: str):
    """An image has positions, not tokens; with pool none a unit is one of them."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["contrast"] |= {
            "modality": "image",
            "read": {"pool": pool, "sites": ["*"]},
            "conditions": {name: {"images": "*.png"} for name in manifest["stimuli"]},
        }

    edit(run, change)
    text = Page(render(run)).text

    assert read in text
    assert f"Units were ablated {edited} forward pass" in text


def test_an_unsplit_contrast_is_reported_as_circular(run: Path):
    """The report states that the same stimuli localize and evaluate."""
    edit(run, lambda manifest: manifest["contrast"].update(split="none"))

    assert "not independent of the selection" in Page(render(run)).text


def test_checks_list_counts_notices_and_samples(text: str):
    """Constant units, notices and the first stimuli are listed; long ones are cut."""
    assert (
        "No unit had a non-finite activation. 2 units were constant over the stimuli (t = 0)."
        in text
    )
    assert "0.1 % of 20 block units is no unit: not ablated" in text
    assert "the dog sleeps . " + "x" * 300 + "…" in text


def test_the_first_units_are_listed_by_decreasing_t(text: str):
    """The table is the head of units.csv, numbers shortened."""
    assert "site index t d q mean.sentences mean.nonwords h.1 9 4.00 4.00 4.00 4.00" in text


def test_scores_of_a_removed_task_are_left_out(run: Path):
    """Only the tasks of the manifest are reported."""
    edit(run, lambda manifest: manifest["evaluate"]["tasks"].pop("continuation"))

    assert "copying" not in Page(render(run)).text


def with_profile(run: Path, held_out: bool = True) -> Path:
    """Add a profile of the block units to a run."""
    z = {"sentences": 1.5, "nonwords": -0.5}
    rows = [
        Response("block", c, units, 120, 10 * v, 9 * v, 11 * v, v, v - 0.1, v + 0.1)
        for units in ("selected", "random", "all")
        for c, v in z.items()
    ]
    (run / "profile.csv").write_text(profile_csv(rows), encoding="utf-8")
    effect = {"sites": "block", "units": "selected", "t": 9.0, "df": 200.0, "p": 0.0, "d": 3.0}
    effects = [effect, {**effect, "units": "random"}]
    record = {"held_out": held_out, "key": "ab", "inputs": {}, "effects": effects}
    edit(run, lambda manifest: manifest.update(profile=record))
    return seal(run)


def test_the_profile_is_plotted_described_and_tabled(run: Path):
    """A figure, a sentence with the held-out test, and every number."""
    page = Page(render(with_profile(run)))

    assert "the selected block units respond most to sentences (z = 1.50, 95 % CI" in page.text
    assert "The contrast holds there: t(200.0) = 9.00, p < 0.001, d = 3.00" in page.text
    assert "on the held-out half of each condition" in page.text
    assert "sentences 120 15.0 13.5 to 16.5 1.50 1.40 to 1.60" in page.text
    assert "Response profile: block" in page.text


def test_a_profile_that_is_not_held_out_is_marked(run: Path):
    """Without a split the caption and the sentence state that it is circular."""
    text = Page(render(with_profile(run, held_out=False))).text

    assert "nothing was held out, so the selected units prefer them by construction" in text
    assert "holds there" not in text


def test_a_run_without_a_profile_has_no_section(text: str):
    """A folder of an earlier deeploc is reported as before."""
    assert "What the units respond to" not in text


def test_a_comparison_of_no_condition_is_named(run: Path):
    """A manifest that was changed by hand is one line, not a traceback."""
    edit(run, lambda manifest: manifest["contrast"].update(contrast="words > nonwords"))

    with pytest.raises(
        RunError, match=r"manifest\.json holds no valid contrast: .*no condition 'words'"
    ):
        render(with_profile(run))


def test_broken_scores_are_named(run: Path):
    """A damaged scores.csv is an error that states what to do."""
    (run / "scores.csv").write_text("task,value\nperplexity,often\n", encoding="utf-8")
    edit(run, lambda manifest: manifest["evaluate"].update(complete=False, files={}))

    with pytest.raises(RunError, match=r"scores\.csv is broken: .*; delete it and evaluate again"):
        render(run)


def test_broken_units_are_named(run: Path):
    """A units.csv with a word for a number is an error that states what to do."""
    (run / "units.csv").write_text("site,index,t\nh.0,1,high\n", encoding="utf-8")
    seal(run)

    with pytest.raises(RunError, match=r"units\.csv is broken: .*; localize again"):
        render(run)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path):
    """Without a manifest there is nothing to report."""
    with pytest.raises(RunError, match="is no run"):
        render(tmp_path)


def test_the_lesion_matrix_is_part_of_the_damage(text: str):
    """A row per mask with value and z, one for its random sets and one for each other control."""
    start = text.index("ablated perplexity (sentences)")

    assert text.index("Damage by dose") < start < text.index("Lesion matrix.")
    assert text.index("Lesion matrix.") < text.index("Methods")
    assert text[start:].startswith(
        "ablated perplexity (sentences) continuation exact-match (copying) "
        "nothing 17.7 0.980 mlp-neurons, zero "
        "top 5 % 6 of 120 units 26.3 z = 23.4 0.970 z = 0.2 "
        "random median of 20 sets 17.8 0.980 "
        "bottom 0.123 z = \N{MINUS SIGN}298.5 0.123 z = 51.0 "
    )


def test_cells_are_coloured_by_z(html: str):
    """More damage than random sets in one colour, less in another, in proportion up to z = 10."""
    cells = [values.get("style") for tag, values in Page(html).tags if tag == "td"]
    tints = [style for style in cells if style and style.startswith("background")]

    assert tints == [
        "background: rgb(194 65 12 / 0.450)",
        "background: rgb(194 65 12 / 0.008)",
        "background: rgb(3 105 161 / 0.450)",
        "background: rgb(194 65 12 / 0.450)",
    ]
