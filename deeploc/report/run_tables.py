"""The tables of a run, as rows of plain values, for files."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from deeploc.core.advantage import Advantage
from deeploc.core.units import Layout
from deeploc.report.figures import chance_band
from deeploc.report.statistic_text import words_of
from deeploc.report.verdict_text import lines_of
from deeploc.runs.saved_run import SavedRun

Rows = list[dict[str, Any]]
"""A table: a dictionary per row, all with the same keys."""


def tables_of(run: SavedRun) -> dict[str, Rows]:
    """Return every table of a run that has rows, by its name.

    ``sites`` has a row per site, ``units`` one per selected unit, ``responses`` one per condition
    and group of units, ``effects`` one per outcome and ablation, ``advantages`` one per outcome and
    mask of tasks on units, ``scores`` one per measurement (controls included), ``verdict`` one per
    question.

    Parameters
    ----------
    run
        The run.
    """
    tables = {
        "sites": _sites(run),
        "units": _units(run),
        "responses": [asdict(row) for row in run.profile.responses] if run.profile else [],
        "effects": _effects(run),
        "advantages": [_advantage(each) for each in run.advantages],
        "scores": [asdict(row) for row in run.scores],
        "verdict": _verdict(run),
    }
    return {name: rows for name, rows in tables.items() if rows}


def _sites(run: SavedRun) -> Rows:
    """Return how many units of each site are selected, beside the 95 % band of chance."""
    rows = []
    for kind in run.mask.layout.kinds:
        sites = [site for site in run.mask.layout.sites if site.kind == kind]
        share = len(run.mask.of_kind(kind)) / sum(site.n_units for site in sites)
        for site, low, high in zip(sites, *chance_band(run.mask, kind), strict=True):
            counts = {"units": site.n_units, "selected": int(run.mask.at(site.name).sum())}
            chance = {"expected": share * site.n_units, "low": int(low), "high": int(high)}
            rows.append({"kind": kind, "site": site.name, **counts, **chance})
    return rows


def _units(run: SavedRun) -> Rows:
    """Return site, index in it and statistics of every selected unit, as they are ranked."""
    stat_map, layout = run.stat_map, run.mask.layout
    (units,) = np.nonzero(run.mask.selected)
    ranked = units[np.argsort(-stat_map.scores[units], kind="stable")].tolist()
    columns = {name: getattr(stat_map, name) for name in ("t", "df", "p", "q", "d")}
    columns |= {f"mean.{name}": vector for name, vector in stat_map.means.items()}
    return [
        {**_place(layout, unit), **{name: float(column[unit]) for name, column in columns.items()}}
        for unit in ranked
    ]


def _place(layout: Layout, unit: int) -> Mapping[str, Any]:
    starts = [layout.slices[site.name].start for site in layout.sites]
    owner = int(np.searchsorted(starts, unit, side="right")) - 1
    site = layout.sites[owner]
    return {"kind": site.kind, "site": site.name, "index": unit - starts[owner]}


def _effects(run: SavedRun) -> Rows:
    """Return every outcome under every ablation, beside its matched random controls."""
    names = ("task", "metric", "condition", "sites", "mode", "percent", "mask", "better")
    return [
        {name: getattr(effect, name) for name in names}
        | {"n": effect.n_items, "intact": effect.intact, "ablated": effect.ablated}
        | {"controls": len(effect.controls), "damage": effect.damage(effect.ablated)}
        | {"z": effect.z, "p": effect.p, "q": effect.q}
        for effect in run.effects
    ]


def _advantage(each: Advantage) -> dict[str, Any]:
    """Return what the units of a mask tell, beside its matched random controls."""
    names = ("task", "metric", "condition", "sites", "percent", "mask", "better", "value")
    return {
        **{name: getattr(each, name) for name in names},
        **{"ci_low": each.ci_low, "ci_high": each.ci_high, "n": each.n_items},
        **{"controls": len(each.controls), "p": each.p},
    }


def _verdict(run: SavedRun) -> Rows:
    """Return every question with its answer, p, level and reason."""
    if run.verdict is None:
        return []
    symbol = words_of(run.manifest.get("contrast") or {}).symbol
    return [
        {"sites": network.sites, "question": question, "answer": answer}
        | {"p": reply.p, "level": reply.level, "reason": reason}
        for network in run.verdict.networks
        for reply, (question, answer, reason) in zip(
            network.replies, lines_of(network, run.verdict, symbol), strict=True
        )
    ]
