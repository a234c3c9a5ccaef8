"""The report: a run folder in, one self-contained HTML page out.

This module collects values; every word and tag of the page is in ``report.html.jinja``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from markupsafe import Markup

from deeploc.core.effects import MIN_CONTROLS, Effect
from deeploc.core.outcomes import Outcome
from deeploc.core.permutation import N_PERMUTATIONS
from deeploc.core.resampling import Reliability
from deeploc.core.responses import UNITS
from deeploc.core.results import Cell, Score
from deeploc.core.selection import count_of
from deeploc.core.stats import ALPHA
from deeploc.core.units import UnitMask
from deeploc.report.advantages import explanation, tables_of
from deeploc.report.audit_tables import tables
from deeploc.report.driving import driving_part
from deeploc.report.examples import examples_part
from deeploc.report.gallery import Gallery, gallery_of
from deeploc.report.lesion_matrix import table_of
from deeploc.report.massive_text import massive_part
from deeploc.report.nothing_selected import without_units
from deeploc.report.outcomes import (
    at_one_dose,
    cell_of,
    first_outcomes,
    main_effects,
    outcome_of,
    unmatched_controls,
)
from deeploc.report.page import template
from deeploc.report.plain_verdict import (
    evidence,
    outcome_in_words,
    was_there_a_network,
    what_would_change_it,
    where,
)
from deeploc.report.references import Bibliography
from deeploc.report.statistic_text import words_of
from deeploc.report.svg import Plot
from deeploc.report.text import (
    describe_effects,
    describe_missing,
    describe_profile,
    describe_reliability,
    mask_label,
    outcome_label,
)
from deeploc.report.unit_table import first_units
from deeploc.report.verdict_text import conclusion, lines_of, rule_of, title_of
from deeploc.runs.folder import RunFolder
from deeploc.runs.saved_run import SavedRun

_MAX_SAMPLE = 300
"""Most characters of a sample stimulus."""


def render(folder: Path) -> str:
    """Return report.html of a run; the same folder gives the same bytes.

    Without scores.csv the report is on the localization only.

    Raises
    ------
    RunError
        If a file of the run is missing or broken.
    """
    run = SavedRun(RunFolder(folder))
    manifest, mask = run.manifest, run.mask
    statistic = words_of(_get(manifest, "contrast"))
    gallery, audit = gallery_of(run), _get(manifest, "audit")
    page = {
        "run": manifest,
        "contrast": _get(manifest, "contrast"),
        "alpha": ALPHA,
        "min_controls": MIN_CONTROLS,
        "n_controls": sorted({len(effect.controls) for effect in run.effects}),
        "statistic": statistic,
        "kinds": [_kind(run, kind, gallery) for kind in mask.layout.kinds],
        "stimuli": [_stimuli(*item) for item in _get(manifest, "stimuli").items()],
        "audit": {"tables": tables(audit), "warnings": audit.get("warnings") or []},
        "units": first_units(run.folder.checked("select", run.folder.units)),
        "profiles": _profiles(run, gallery),
        "driving": driving_part(run),
        "networks": _networks(run, statistic.symbol),
        "verdict": run.verdict,
        "rule": rule_of(run.verdict) if run.verdict else "",
        **_reliability(run, statistic.symbol),
        "massive": massive_part(run.massive, mask),
        **_results(run, gallery),
        "examples": examples_part(run.examples, run.verdict),
        "advantages": tables_of(run.advantages),
        "advantages_explained": explanation(run.advantages) if run.advantages else "",
        "bibliography": Bibliography(),
        "primary": outcome_in_words(run.verdict.primary if run.verdict else None),
        "against": [outcome_in_words(name) for name in run.verdict.against] if run.verdict else [],
    }
    return template("report.html.jinja").render(page)


def _networks(run: SavedRun, statistic: str) -> dict[str, dict[str, Any]]:
    """Return the answers about every network, in plain words and question by question."""
    verdict = run.verdict
    if verdict is None:
        return {}
    contrast, model = _get(run.manifest, "contrast"), run.manifest.get("address", "")
    preferred = " and ".join(run.folder.read_comparison().positive)
    audit = _get(run.manifest, "audit")
    empty = without_units(run.folder)
    found: dict[str, dict[str, Any]] = {}
    for network in verdict.networks:
        why_none = empty.get(network.sites, "no unit was selected")
        warnings = () if found else audit.get("warnings") or ()  # of the run: told once
        change = what_would_change_it(network, verdict, preferred, warnings)
        found[network.sites] = {
            "title": title_of(network, contrast.get("name", ""), model),
            "conclusion": conclusion(network, why_none),
            "found": was_there_a_network(network, verdict, preferred, why_none),
            "evidence": list(map(_unbroken, evidence(network, verdict, statistic))),
            "change": list(map(_unbroken, change)),
            "lines": [(q, r, _unbroken(w)) for q, r, w in lines_of(network, verdict, statistic)],
        }
    return found


def _get(run: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a part of a manifest, empty where it is absent or null."""
    return reduce(lambda part, key: part.get(key) or {}, keys, run)


def _results(run: SavedRun, gallery: Gallery) -> dict[str, Any]:
    """Return what is reported of the evaluation: summary, overview, every outcome, figures."""
    manifest, effects = run.manifest, run.effects
    main = main_effects(effects, run.folder.better())
    chosen = at_one_dose(main, _get(manifest, "contrast", "select").get("percent"))
    n_units = {cell_of(effect): _n_units(run.mask, effect) for effect in effects}
    return {
        "summary": [_summary(chosen, kind, n_units) for kind in _kinds(chosen)],
        "lesions": table_of(main, n_units, _first_mode(manifest)),
        "overview": _overview(chosen, n_units),
        "outcome_tables": _outcome_tables(run.scores, effects, n_units),
        "doses": [_svg(gallery.dose, kind) for kind in gallery.dose],
        "n_plotted": len(first_outcomes(main)),
        "n_outcomes": len({outcome_of(effect) for effect in effects}),
    }


def _first_mode(run: Mapping[str, Any]) -> str:
    modes = _get(run, "contrast", "ablate").get("mode") or ["zero"]
    return modes if isinstance(modes, str) else str(modes[0])


def _summary(chosen: Sequence[Effect], kind: str, n_units: Mapping[Cell, str]) -> str:
    """Return sentences on the first mode at sites of a kind."""
    cell = cell_of(next(effect for effect in chosen if effect.sites == kind))
    ablated = f"the {mask_label(cell)} of {kind} ({n_units[cell]}, mode {cell.mode})"
    effects = [effect for effect in chosen if cell_of(effect) == cell]
    return _unbroken(describe_effects(effects, ablated))


def _overview(chosen: Sequence[Effect], n_units: Mapping[Cell, str]) -> dict[str, Any]:
    """Return a table of main outcomes: a column per kind of site and mode, at one dose."""
    columns = list(dict.fromkeys(cell_of(effect) for effect in chosen))
    rows: dict[Outcome, dict[Cell, Effect]] = {}
    for effect in chosen:
        rows.setdefault(outcome_of(effect), {})[cell_of(effect)] = effect
    return {
        "columns": [(cell, n_units[cell]) for cell in columns],
        "rows": [(outcome_label(*row), [by.get(c) for c in columns]) for row, by in rows.items()],
    }


def _outcome_tables(
    scores: Iterable[Score], effects: Sequence[Effect], n_units: Mapping[Cell, str]
) -> list[dict[str, Any]]:
    """Return one table per ablation: kind of site, mode, dose and mask.

    A row is the effect, the score when ablated, the spread of the matched controls and that of each
    kind of unmatched control.
    """
    ablated = {
        (row.task, row.metric, row.condition, Cell(row.sites, row.mode, row.percent, row.mask)): row
        for row in scores
        if not row.control_of
    }
    return [
        {
            "cell": cell,
            "n_units": text,
            "rows": [
                (
                    effect,
                    ablated[(*outcome_of(effect), cell)],
                    _spread(effect.controls),
                    {name: _spread(v) for name, v in unmatched_controls(effect).items()},
                )
                for effect in effects
                if cell_of(effect) == cell
            ],
        }
        for cell, text in n_units.items()
    ]


def _spread(controls: Sequence[float]) -> tuple[float, float, float] | None:
    """Return median, minimum and maximum."""
    return (median(controls), min(controls), max(controls)) if controls else None


def _n_units(mask: UnitMask, effect: Effect) -> str:
    """Return how many units were ablated: the selection, or a share of the units of a kind."""
    size = int(mask.layout.of_kind(effect.sites).sum())
    selected = effect.mask == "selected"
    n = len(mask.of_kind(effect.sites)) if selected else count_of(effect.percent, size)
    return f"{n:,} of {size:,} units"


def _kind(run: SavedRun, kind: str, gallery: Gallery) -> dict[str, Any]:
    """Return what is reported of the selection at sites of a kind."""
    stat_map, mask = run.stat_map, run.mask
    among = mask.layout.of_kind(kind)
    t = stat_map.t[among & mask.selected]
    with np.errstate(invalid="ignore"):
        significant = among & (stat_map.t > 0) & (stat_map.q <= ALPHA)
    return {
        "name": kind,
        "n_sites": sum(site.kind == kind for site in mask.layout.sites),
        "n_units": int(among.sum()),
        "n_selected": t.size,
        "lowest_t": float(t.min()) if t.size else None,
        "significant": int(significant.sum()),
        "where": _unbroken(where(mask, kind)),
        "figures": _svg(gallery.sites, kind) + _svg(gallery.statistic, kind),
    }


def _profiles(run: SavedRun, gallery: Gallery) -> list[dict[str, Any]]:
    """Return what is reported of the response profile at each kind of site."""
    if run.profile is None:
        return []
    profile, comparison = run.profile, run.folder.read_comparison()
    empty = without_units(run.folder)
    return [
        {"kind": kind, "text": f"{kind}: {empty[kind]}.", "figure": "", "rows": []}
        if kind in empty
        else {
            "kind": kind,
            "text": _unbroken(describe_profile(profile, kind, comparison.positive)),
            "figure": _svg(gallery.profile, kind),
            "rows": list(zip(*(profile.of(kind, units) for units in UNITS), strict=True)),
            "tests": [(units, profile.preference(kind, units)) for units in UNITS],
        }
        for kind in profile.kinds
    ]


def _reliability(run: SavedRun, statistic: str) -> dict[str, Any]:
    """Return what is reported of the reliability of the selection, two lines per kind of site."""
    reliability = run.reliability or Reliability([])
    lines = [describe_reliability(reliability, k.sites, statistic) for k in reliability.kinds]
    return {
        "reliability": [[_unbroken(line.strip()) for line in pair] for pair in lines],
        "not_computed": [
            f"{line[:1].upper()}{line[1:]}." for line in describe_missing(reliability)
        ],
        "n_permutations": N_PERMUTATIONS,
    }


def _unbroken(text: str) -> str:
    """Return a sentence whose lines do not break at ``=``, ``<``, ``≤``, ``→`` or before ``%``."""
    return re.sub(" (?=[=<≤%→] ?)|(?<= [=<≤→]) ", "\N{NO-BREAK SPACE}", text)


def _stimuli(condition: str, record: Mapping[str, Any]) -> dict[str, Any]:
    samples = [str(text) for text in record.get("samples") or ()]
    short = [t if len(t) <= _MAX_SAMPLE else t[:_MAX_SAMPLE] + "…" for t in samples]
    unknown = dict.fromkeys(("n", "localize", "evaluate"))
    return {**unknown, **record, "name": condition, "samples": short}


def _kinds(effects: Sequence[Effect]) -> list[str]:
    return list(dict.fromkeys(effect.sites for effect in effects))


def _svg(plots: Mapping[str, Plot], kind: str) -> Markup:
    return Markup(plots[kind].inline())  # `inline` escapes every name
