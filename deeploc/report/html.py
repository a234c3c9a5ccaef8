"""A run folder in, one self-contained HTML page out.

This module gathers values; every word and tag of the page is in ``report.html.jinja``.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from importlib.resources import files
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from deeploc.core.effects import Effect
from deeploc.core.responses import UNITS
from deeploc.core.results import Better, Score
from deeploc.core.selection import count_of
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.report import figures as plots
from deeploc.report.audit_tables import tables
from deeploc.report.profile_figure import profile_figure
from deeploc.report.text import (
    Row,
    at_one_dose,
    further_controls,
    label,
    main_effects,
    number,
    row_of,
    shown_rows,
    summarize,
    tell_profile,
)
from deeploc.runs.folder import RunFolder

Place = tuple[str, str, float, str]
"""Kind of site, mode, percent, and ``selected`` or ``top``: one ablation with its controls."""

_TOP_UNITS = 20
_SAMPLE_LENGTH = 300


def render(folder: Path) -> str:
    """Return report.html of a run; without scores.csv it tells of the localization only.

    The same folder gives the same bytes.

    Raises
    ------
    RunError
        If a file of the run is missing or broken.
    """
    run = RunFolder(folder)
    manifest = run.read_plain_manifest()
    stat_map, mask = run.read_stat_map(), run.read_mask()
    scores, found = run.read_scores(), run.read_effects()
    audit = _get(manifest, "audit")
    page = {
        "run": manifest,
        "contrast": _get(manifest, "contrast"),
        "n_controls": sorted({len(effect.controls) for effect in found}),
        "kinds": [_kind(stat_map, mask, kind) for kind in mask.layout.kinds],
        "stimuli": [_stimuli(*item) for item in _get(manifest, "stimuli").items()],
        "audit": {"tables": tables(audit), "warnings": audit.get("warnings") or []},
        "units": _top_units(run.checked("select", run.units)),
        "profiles": _profiles(run),
        **_results(scores, found, manifest, mask, run.better()),
    }
    return _template().render(page)


def _get(run: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a part of a manifest, empty where it is absent or null."""
    return reduce(lambda part, key: part.get(key) or {}, keys, run)


def _results(
    scores: Sequence[Score],
    found: Sequence[Effect],
    run: Mapping[str, Any],
    mask: UnitMask,
    better: Mapping[str, Mapping[str, Better]],
) -> dict[str, Any]:
    """Return what is told of the evaluation: summary, overview, every outcome, figures."""
    main = main_effects(found, better)
    told = at_one_dose(main, _get(run, "contrast", "select").get("percent"))
    units = {_place(e): _units(mask, e) for e in found}
    rows = shown_rows(main)
    return {
        "summary": [_summary(told, kind, units) for kind in _kinds(told)],
        "overview": _overview(told, units),
        "cells": _cells(scores, found, units),
        "doses": [_markup(plots.dose_figure(main, kind, rows)) for kind in _kinds(main)],
        "n_rows": len(rows),
        "n_outcomes": len({row_of(effect) for effect in found}),
    }


def _summary(told: Sequence[Effect], kind: str, units: Mapping[Place, str]) -> str:
    here = [effect for effect in told if effect.sites == kind]
    place = _place(here[0])
    _, mode, percent, which = place
    what = f"the {which} {percent:g} % of {kind} ({units[place]}, mode {mode})"
    return summarize([effect for effect in here if _place(effect) == place], what)


def _overview(told: Sequence[Effect], units: Mapping[Place, str]) -> dict[str, Any]:
    """Return a table of main outcomes: a column per kind of site and mode, at one dose."""
    columns = list(dict.fromkeys(_place(effect) for effect in told))
    rows: dict[Row, dict[Place, Effect]] = {}
    for effect in told:
        rows.setdefault(row_of(effect), {})[_place(effect)] = effect
    return {
        "columns": [(*column, units[column]) for column in columns],
        "rows": [(label(*row), [by.get(c) for c in columns]) for row, by in rows.items()],
    }


def _cells(
    scores: Sequence[Score], found: Sequence[Effect], units: Mapping[Place, str]
) -> list[dict[str, Any]]:
    """Return one table per kind of site, mode and dose.

    A row holds the effect, the score when ablated, the spread of the matched controls and those
    of the further ones.
    """
    ablated = {
        (row.task, row.metric, row.condition, *_place_of(row)): row
        for row in scores
        if not row.control_of
    }
    return [
        {
            "place": place,
            "units": text,
            "rows": [
                (
                    effect,
                    ablated[(*row_of(effect), *place)],
                    _spread(effect.controls),
                    {name: _spread(v) for name, v in further_controls(effect).items()},
                )
                for effect in found
                if _place(effect) == place
            ],
        }
        for place, text in units.items()
    ]


def _spread(controls: Sequence[float]) -> tuple[float, float, float] | None:
    return (median(controls), min(controls), max(controls)) if controls else None


def _units(mask: UnitMask, effect: Effect) -> str:
    """Return how many units were ablated: the selection, or a share of the units of a kind."""
    size = int(mask.layout.of_kind(effect.sites).sum())
    selected = effect.mask == "selected"
    n = len(mask.of_kind(effect.sites)) if selected else count_of(effect.percent, size)
    return f"{n:,} of {size:,} units"


def _kind(stat_map: StatMap, mask: UnitMask, kind: str) -> dict[str, Any]:
    among = mask.layout.of_kind(kind)
    chosen = stat_map.t[among & mask.selected]
    with np.errstate(invalid="ignore"):
        significant = among & (stat_map.t > 0) & (stat_map.q <= 0.05)
    return {
        "name": kind,
        "n_sites": sum(site.kind == kind for site in mask.layout.sites),
        "n_units": int(among.sum()),
        "n_selected": chosen.size,
        "lowest_t": float(chosen.min()) if chosen.size else None,
        "significant": int(significant.sum()),
        "depth": _markup(plots.depth_figure(mask, kind)),
        "t": _markup(plots.t_figure(stat_map, mask, kind)),
    }


def _profiles(run: RunFolder) -> list[dict[str, Any]]:
    """Return what is told of the response profile at each kind of site."""
    profile, comparison = run.read_profile(), run.read_comparison()
    if profile is None:
        return []
    return [
        {
            "kind": kind,
            "told": _unbroken(tell_profile(profile, kind, comparison.positive)),
            "figure": _markup(profile_figure(profile, kind, comparison)),
            "rows": list(zip(*(profile.of(kind, units) for units in UNITS), strict=True)),
            "tests": [(units, profile.preference(kind, units)) for units in UNITS],
        }
        for kind in profile.kinds
    ]


def _unbroken(text: str) -> str:
    """Return a sentence whose numbers stay on the line of what they are the value of."""
    return re.sub(" (?=[=<%] )|(?<= [=<]) ", "\N{NO-BREAK SPACE}", text)


def _stimuli(condition: str, told: Mapping[str, Any]) -> dict[str, Any]:
    samples = [str(text) for text in told.get("samples") or ()]
    short = [t if len(t) <= _SAMPLE_LENGTH else t[:_SAMPLE_LENGTH] + "…" for t in samples]
    return {"n": None, "localize": None, "evaluate": None, **told, "name": condition} | {
        "samples": short
    }


def _top_units(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), _TOP_UNITS))
        words = ("site", "index")
        return [{k: v if k in words else number(float(v)) for k, v in r.items()} for r in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} is broken: {error}; localize again") from error


def _place(effect: Effect) -> Place:
    return (effect.sites, effect.mode, effect.percent, effect.mask)


def _place_of(row: Score) -> Place:
    return (row.sites, row.mode, row.percent, row.control_of or row.mask)


def _kinds(found: Sequence[Effect]) -> list[str]:
    return list(dict.fromkeys(effect.sites for effect in found))


def _markup(svg: str) -> Markup:
    return Markup(svg)  # drawn by plots, which escapes every name


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@cache
def _template() -> Template:
    text = (files("deeploc.report") / "report.html.jinja").read_text(encoding="utf-8")
    room = Environment(autoescape=True, undefined=StrictUndefined, lstrip_blocks=True)
    room.filters.update(num=number, plain=_plain)
    return room.from_string(text)
