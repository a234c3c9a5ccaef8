"""Several runs as one self-contained HTML page.

This module collects values; every word and tag of the page is in ``comparison.html.jinja``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from markupsafe import Markup

from deeploc.core.multiplicity import holm
from deeploc.core.overlap import Overlap
from deeploc.core.stats import ALPHA
from deeploc.report.compared_verdicts import p_text, verdict_rows
from deeploc.report.comparison_figures import pair_figure, site_figure
from deeploc.report.overlaps import ComparedRuns, PairOverlap, share_text, units_at
from deeploc.report.page import template
from deeploc.report.statistic_text import words_of
from deeploc.report.text import format_number
from deeploc.runs.manifest import Manifest

_MOST_PLOTTED = 4
"""Runs of which every two are plotted against each other: of more, there are too many figures."""

_MOST_OPAQUE = 0.45
"""Opacity of the colour of a cell at the largest share: text on it stays readable."""


@dataclass(frozen=True)
class MatrixCell:
    """Two runs in the matrix of overlaps, or one run with itself.

    Parameters
    ----------
    overlap
        What both select; None where they share no site.
    tint
        The background in CSS.
    """

    overlap: Overlap | None
    tint: str = ""


def default_page(compared: ComparedRuns) -> Path:
    """Return where the page of some runs is written: beside the first.

    Parameters
    ----------
    compared
        The runs.
    """
    return compared.runs[0].folder.path.absolute().parent / "compare.html"


def render(compared: ComparedRuns) -> str:
    """Return compare.html; the same runs give the same bytes.

    Parameters
    ----------
    compared
        The runs.

    Raises
    ------
    RunError
        If a file of a run is missing or broken.
    """
    page = {
        "compared": compared,
        "runs": [_run(compared, number) for number in range(len(compared.runs))],
        "answers": {kind: answer_of(compared, kind) for kind in compared.shared_kinds},
        "other_models": other_models(compared),
        "differences": differences(compared.manifests),
        "verdicts": _verdicts(compared),
        "matrices": {kind: _matrix(compared, kind) for kind in compared.shared_kinds},
        "sites": [_sites(compared, kind) for kind in compared.kinds],
        "plots": _plots(compared),
        "most_plotted": _MOST_PLOTTED,
        "share": share_text,
        "deeploc": version("deeploc"),
    }
    return template("comparison.html.jinja").render(page)


def _run(compared: ComparedRuns, number: int) -> dict[str, Any]:
    run, manifest = compared.runs[number], compared.manifests[number]
    mask = run.mask
    return {
        "name": compared.names[number],
        "folder": str(run.folder.path),
        "contrast": manifest.contrast["name"],
        "sides": manifest.contrast.get("contrast") or "",
        "model": manifest.address,
        "ranked_by": manifest.ranked_by,
        "statistic": words_of(manifest.contrast).name,
        "seed": manifest.options.seed,
        "selected": {k: (len(mask.of_kind(k)), int(mask.layout.of_kind(k).sum()))
                     for k in mask.layout.kinds},
        "deeploc": manifest.deeploc,
        "created": manifest.created,
    }  # fmt: skip


def answer_of(compared: ComparedRuns, kind: str) -> str:
    """Return in one sentence how far the runs agree at the sites of a kind.

    They share more than by chance where p, after Holm's correction for all comparisons of these
    runs, is at most 0.05.

    Parameters
    ----------
    compared
        The runs.
    kind
        One of the kinds at which some are compared.
    """
    adjusted = holm(np.array([pair.overlap.p for pair in compared.pairs]))
    of_kind = [(p, q) for p, q in zip(compared.pairs, adjusted, strict=True) if p.sites == kind]
    if len(of_kind) == 1:
        return _answer_of_pair(*of_kind[0])
    beyond = sum(bool(q <= ALPHA) for _, q in of_kind)
    shares = [pair.overlap.jaccard for pair, _ in of_kind if not isnan(pair.overlap.jaccard)]
    spread = (
        f"Jaccard {min(shares):.2f} to {max(shares):.2f}, median {median(shares):.2f}"
        if shares
        else "no run selects a unit"
    )
    pairs = f"{beyond:,} of {len(of_kind):,} pairs of runs"
    return f"{pairs} have more units in common than by chance; {spread}"


def _answer_of_pair(pair: PairOverlap, adjusted: float) -> str:
    both, first, second = pair.overlap, pair.first + 1, pair.second + 1
    if not both.first or not both.second:
        return f"runs {first} and {second} select {both.first:,} and {both.second:,} units"
    more = "more" if adjusted <= ALPHA else "no more"
    return (
        f"runs {first} and {second} share {both.both:,} of their {both.first:,} and "
        f"{both.second:,} selected units, {more} than by chance "
        f"({format_number(both.expected)} expected, {p_text(both.p)}); "
        f"r = {share_text(pair.r)} between the statistics of all units"
    )


def other_models(compared: ComparedRuns) -> list[tuple[int, int]]:
    """Return which pairs of runs, numbered from 1, are of models with other weights.

    Parameters
    ----------
    compared
        The runs.
    """
    weights = [manifest.model.get("weights") for manifest in compared.manifests]
    pairs = dict.fromkeys((pair.first, pair.second) for pair in compared.pairs)
    return [(a + 1, b + 1) for a, b in pairs if weights[a] != weights[b]]


def differences(manifests: tuple[Manifest, ...]) -> dict[str, list[str]]:
    """Return the settings in which some runs differ, with the value in each run.

    Left out is what describes a contrast, and what the numbers do not depend on.

    Parameters
    ----------
    manifests
        What each run is made from.
    """
    settings = [dict(_settings(manifest)) for manifest in manifests]
    names = dict.fromkeys(name for of_run in settings for name in of_run)
    rows = {name: [of_run.get(name, "-") for of_run in settings] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _settings(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "model", manifest.address
    yield "hash of the weights", str(manifest.model.get("weights"))
    no_part = ("base", "device", "batch_size", "strict")
    options = {k: v for k, v in manifest.options.model_dump().items() if k not in no_part}
    contrast = manifest.contrast
    asked = ("name", "contrast", "against", "statistic", "balance", "read", "split", "select")
    yield from _flat("contrast", {k: contrast[k] for k in asked if k in contrast})
    yield from _flat("", options)
    yield "deeploc", manifest.deeploc


def _flat(above: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        else:
            yield name, _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _verdicts(compared: ComparedRuns) -> dict[str, Any]:
    rows = {kind: verdict_rows(compared.runs, kind) for kind in compared.kinds}
    return {kind: of_kind for kind, of_kind in rows.items() if of_kind}


def _matrix(compared: ComparedRuns, kind: str) -> list[list[MatrixCell]]:
    n = len(compared.runs)
    return [[_matrix_cell(compared, a, b, kind) for b in range(n)] for a in range(n)]


def _matrix_cell(compared: ComparedRuns, first: int, second: int, kind: str) -> MatrixCell:
    pair = compared.pair(first, second, kind)
    if pair is None:
        return MatrixCell(None)
    share = pair.overlap.jaccard
    if isnan(share) or share == 0:
        return MatrixCell(pair.overlap)
    return MatrixCell(pair.overlap, f"background: rgb(194 65 12 / {_MOST_OPAQUE * share:.3f})")


def _sites(compared: ComparedRuns, kind: str) -> dict[str, Any]:
    """Return where the selected units of a kind are: a figure, and a table of the same."""
    counts = compared.site_counts(kind)
    masks = {n: run.mask for n, run in enumerate(compared.runs, start=1) if counts[n - 1]}
    tables = [dict(zip(c.names, zip(c.counts, c.sizes, strict=True), strict=True)) if c else {}
              for c in counts]  # fmt: skip
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name) for table in tables] for name in names}
    svg = Markup(site_figure(masks, kind))  # `Plot.inline` escapes every name
    return {"kind": kind, "figure": svg, "rows": rows}


def _plots(compared: ComparedRuns) -> list[Markup]:
    """Return every two runs against each other, by kind of site; nothing of many runs."""
    if len(compared.runs) > _MOST_PLOTTED:
        return []
    pairs = [pair for kind in compared.shared_kinds for pair in compared.of_kind(kind)]
    return [_plot(compared, pair) for pair in pairs]


def _plot(compared: ComparedRuns, pair: PairOverlap) -> Markup:
    numbers = (pair.first, pair.second)
    runs = [compared.runs[n] for n in numbers]
    units = [units_at(run.mask.layout, pair.names) for run in runs]
    contrasts = [compared.manifests[n].contrast for n in numbers]
    labels = [
        f"{words_of(contrast).symbol}, run {n + 1} ({contrast['name']})"
        for contrast, n in zip(contrasts, numbers, strict=True)
    ]
    svg = pair_figure(
        (compared.t[pair.first][units[0]], compared.t[pair.second][units[1]]),
        (runs[0].mask.selected[units[0]], runs[1].mask.selected[units[1]]),
        (labels[0], labels[1]),
        title=f"{pair.sites}: run {pair.first + 1} against run {pair.second + 1}",
        desc=f"{pair.overlap.n_units:,} units; Pearson's r = {share_text(pair.r)}, "
        f"Spearman's rho = {share_text(pair.rho)}",
    )
    return Markup(svg)  # `Plot.inline` escapes every name
