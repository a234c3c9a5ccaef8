"""The lesion matrix as a table: a row per ablated mask, a column per outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from statistics import median

from deeploc.core.bootstrap import Interval
from deeploc.core.effects import Effect
from deeploc.core.outcomes import Outcome
from deeploc.core.results import Cell
from deeploc.report.outcomes import cell_of, outcome_of, unmatched_controls
from deeploc.report.text import format_number, mask_label, outcome_label

_FULL = 10.0
"""The z at which the colour of a cell is full."""

_MOST_OPAQUE = 0.45
"""Opacity of the full colour: text on it stays readable on a light and on a dark page."""

_WORSE, _LESS = "194 65 12", "3 105 161"
"""Red, green and blue of damage beyond the controls, and of less damage than theirs."""


@dataclass(frozen=True)
class LesionCell:
    """An outcome under one ablation.

    Parameters
    ----------
    value
        The metric.
    z
        Damage in standard deviations of matched random sets; nan where it has none.
    change
        The change against the intact model with its 95 % interval, where it is known.
    """

    value: float
    z: float = nan
    change: Interval | None = None

    @property
    def tint(self) -> str:
        """The background in CSS, the stronger the larger z; empty where z is about 0 or unknown."""
        strength = min(abs(self.z), _FULL) / _FULL
        if isnan(self.z) or round(strength, 2) == 0:
            return ""
        colour = _WORSE if self.z > 0 else _LESS
        return f"background: rgb({colour} / {_MOST_OPAQUE * strength:.3f})"


@dataclass(frozen=True)
class LesionRow:
    """One ablation, or the median of several.

    Parameters
    ----------
    label, detail
        What was ablated, and how much.
    cells
        One per column; None where it was not measured.
    is_control
        Whether it is there for comparison.
    """

    label: str
    detail: str
    cells: Sequence[LesionCell | None]
    is_control: bool = False


@dataclass(frozen=True)
class LesionTable:
    """The lesion matrix.

    Parameters
    ----------
    columns
        The outcomes, in words.
    intact
        The values of the intact model.
    groups
        Kind of site, with what its rows have in common -> its rows.
    """

    columns: Sequence[str]
    intact: Sequence[float]
    groups: Mapping[str, Sequence[LesionRow]]


def z_text(z: float) -> str:
    """Return z with one digit behind the point; a dash where there is none.

    Examples
    --------
    >>> [z_text(z) for z in (1.26, -0.04, 12345.6, float("inf"))]
    ['1.3', '0.0', '12,300', '∞']
    """
    if isnan(z):
        return "\N{EN DASH}"
    if abs(z) >= 1000:
        return format_number(z)
    return f"{z:z.1f}".replace("-", "\N{MINUS SIGN}")


def table_of(
    effects: Sequence[Effect], n_units: Mapping[Cell, str], mode: str
) -> LesionTable | None:
    """Return the lesion matrix of one run, None where nothing was ablated.

    Each kind of site has a row for every mask that was ablated in one mode, the smallest dose
    first, and below it the median of its matched random sets and of every other control.

    Parameters
    ----------
    effects
        Effects on the outcomes that are shown.
    n_units
        How many units each ablation is, in words.
    mode
        The mode; where no unit of a kind was ablated in it, the first one is shown.
    """
    if not effects:
        return None
    columns = list(dict.fromkeys(map(outcome_of, effects)))
    intact = {outcome_of(effect): effect.intact for effect in effects}
    groups = {}
    for kind in dict.fromkeys(effect.sites for effect in effects):
        of_kind = [effect for effect in effects if effect.sites == kind]
        shown = next((e.mode for e in of_kind if e.mode == mode), of_kind[0].mode)
        masks: dict[Cell, dict[Outcome, Effect]] = {}
        for effect in sorted((e for e in of_kind if e.mode == shown), key=lambda e: e.percent):
            masks.setdefault(cell_of(effect), {})[outcome_of(effect)] = effect
        groups[f"{kind}, {shown}"] = [
            row
            for cell, by_outcome in masks.items()
            for row in _rows(cell, [by_outcome.get(o) for o in columns], n_units[cell])
        ]
    labels = [outcome_label(*outcome) for outcome in columns]
    return LesionTable(labels, [intact[outcome] for outcome in columns], groups)


def _rows(cell: Cell, effects: Sequence[Effect | None], n_units: str) -> list[LesionRow]:
    """Return the row of a mask and those of its controls."""
    own = [LesionCell(e.ablated, e.z) if e is not None else None for e in effects]
    random = [LesionCell(middle(e.controls)) if e and e.controls else None for e in effects]
    rows = [LesionRow(mask_label(cell), n_units, own)]
    sizes = [len(effect.controls) for effect in effects if effect and effect.controls]
    if sizes:
        rows.append(LesionRow("random", of_sets(sizes), random, is_control=True))
    others = [unmatched_controls(effect) if effect else {} for effect in effects]
    for name in dict.fromkeys(name for by_name in others for name in by_name):
        values = [by_name.get(name, []) for by_name in others]
        cells = [
            LesionCell(middle(v), e.z_of(middle(v))) if e and v else None
            for e, v in zip(effects, values, strict=True)
        ]
        rows.append(LesionRow(name, of_sets([len(v) for v in values if v]), cells, is_control=True))
    return rows


def middle(values: Sequence[float]) -> float:
    """Return the median; what is no number counts as the largest.

    Parameters
    ----------
    values
        At least one.
    """
    ordered = sorted(values, key=lambda value: inf if isnan(value) else value)
    return ordered[len(values) // 2] if any(map(isnan, values)) else median(ordered)


def of_sets(sizes: Sequence[int]) -> str:
    """Return of how many sets the values of a row are medians; nothing where of one.

    Parameters
    ----------
    sizes
        The number of sets in each cell.

    Examples
    --------
    >>> of_sets([1, 1]), of_sets([20, 20]), of_sets([199, 20])
    ('', 'median of 20 sets', 'median of 20 to 199 sets')
    """
    least, most = min(sizes, default=1), max(sizes, default=1)
    if most == 1:
        return ""
    return f"median of {most} sets" if least == most else f"median of {least} to {most} sets"
