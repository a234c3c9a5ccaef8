"""The dissociation of two runs: in words, as JSON, and as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deeploc.analysis.lesions import Ablated, Column, LesionMatrix
from deeploc.core.dissociation import Dissociation, DoubleDissociation, sets_needed
from deeploc.core.json_values import nulled
from deeploc.core.stats import ALPHA
from deeploc.report.lesion_matrix import (
    LesionCell,
    LesionRow,
    LesionTable,
    middle,
    of_sets,
    z_text,
)
from deeploc.report.page import template
from deeploc.report.text import mask_label, outcome_label

RULE = (
    "The units of a contrast dissociate if ablating them damages the primary outcome of their own "
    "contrast more than ablating matched random sets does (p), and if its z minus that of the "
    "primary outcome of the other contrast is larger than for the random sets (p); z is damage in "
    "standard deviations of these sets. The dissociation is double if both units dissociate: its "
    "size is the smaller of the two differences, its p the largest of the four, adjusted over the "
    "kinds of site (Holm). All other p are not corrected."
)
"""The rule of `deeploc.core.dissociation` in words."""


@dataclass(frozen=True)
class Dissociated:
    """Two runs, what was measured, and what it amounts to.

    Parameters
    ----------
    names
        What tables call the runs.
    folders
        The run folders.
    model
        The address of the model.
    matrix
        Every mask on every task.
    doubles
        Kind of site -> the double dissociation.
    """

    names: tuple[str, str]
    folders: tuple[Path, Path]
    model: str
    matrix: LesionMatrix
    doubles: dict[str, DoubleDissociation]


def tables_of(made: Dissociated) -> dict[str, LesionTable]:
    """Return the lesion matrix, a table for the tasks of either run.

    Parameters
    ----------
    made
        What was measured.
    """
    tables = {}
    for name in made.names:
        columns = [column for column in made.matrix.columns if column.of == name]
        groups = {
            f"{kind}: {_units(pair, made.matrix.shared[kind])}": [
                row for ablated in pair for row in _rows(ablated, columns)
            ]
            for kind, pair in made.matrix.rows.items()
        }
        labels = [outcome_label(*column.outcome) for column in columns]
        tables[f"tasks of {name}"] = LesionTable(labels, [c.intact for c in columns], groups)
    return {title: table for title, table in tables.items() if table.columns}


def _units(pair: tuple[Ablated, Ablated], shared: int) -> str:
    """Return which units two masks are, and how many are in both."""
    masks = (f"{mask_label(one.cell)} ({one.n_units:,} units)" for one in pair)
    return f"{' and '.join(masks)}, {shared:,} in both"


def _rows(ablated: Ablated, columns: Sequence[Column]) -> list[LesionRow]:
    """Return the row of a mask, and that of its random sets."""
    own: list[LesionCell | None] = []
    random: list[LesionCell | None] = []
    for column in columns:
        damage = ablated.damages[column]
        z = damage.z(damage.observed)
        own.append(LesionCell(damage.ablated, z, ablated.changes[column]))
        random.append(LesionCell(middle(list(damage.controls.values()))))
    sizes = [len(ablated.damages[column].controls) for column in columns]
    return [
        LesionRow(ablated.of, f"mode {ablated.cell.mode}", own),
        LesionRow("random", of_sets(sizes), random, is_control=True),
    ]


_ANSWERS = {
    "yes": "a double dissociation",
    "no": "no double dissociation",
    "not asked": "whether the dissociation is double is not known",
}
"""How an answer is told."""


def answer_of(kind: str, made: Dissociated) -> str:
    """Return in one sentence whether the dissociation is double at the sites of a kind.

    Parameters
    ----------
    kind
        The kind of site.
    made
        The result.
    """
    double = made.doubles[kind]
    opening = f"{kind}: {_ANSWERS[double.answer]}"
    if double.first is None or double.second is None:
        return f"{opening}: {_untested(made)}"
    size = f"the smaller difference is {z_text(double.difference)} SD of controls"
    if double.answer == "not asked":
        n, needed = min(double.first.n, double.second.n), sets_needed(double.n_kinds, double.level)
        return f"{opening}: {size}; {n} random sets are too few to affirm it (--controls {needed})"
    over = f" over {double.n_kinds} kinds of site" if double.n_kinds > 1 else ""
    each = "each harms its own outcome more than the other's; " if double.answer == "yes" else ""
    return f"{opening}: {each}{size}, {_p(double.adjusted)}{over}"


def lines_of(kind: str, made: Dissociated) -> list[str]:
    """Return a sentence on the dissociation of each mask.

    Parameters
    ----------
    kind
        The kind of site.
    made
        The result.
    """
    double, (first, second) = made.doubles[kind], made.matrix.primaries
    if double.first is None or double.second is None or first is None or second is None:
        return []
    return [
        _line(made, 0, double.first, (first, second)),
        _line(made, 1, double.second, (second, first)),
    ]


def _line(made: Dissociated, side: int, one: Dissociation, outcomes: tuple[Column, Column]) -> str:
    own, other = (column_label(column, made.matrix.columns) for column in outcomes)
    if one.p <= ALPHA:
        result = "dissociate"
    elif one.p_own > ALPHA:
        result = "do no more harm than random sets"
    else:
        result = "do not harm their own outcome more than the other"
    return (
        f"{made.names[side]} units {result}: {own} z = {z_text(one.own)}, {_p(one.p_own)}; "
        f"{other} z = {z_text(one.other)}; difference {z_text(one.difference)} SD, "
        f"{_p(one.p_difference)}"
    )


def column_label(column: Column, columns: Sequence[Column]) -> str:
    """Return the name of an outcome, with whose task it is where another has the same name.

    Parameters
    ----------
    column
        The outcome.
    columns
        All outcomes.
    """
    label = outcome_label(*column.outcome)
    same = [other for other in columns if other.outcome == column.outcome]
    return f"{label} of {column.of}" if len(same) > 1 else label


def _untested(made: Dissociated) -> str:
    for name, primary in zip(made.names, made.matrix.primaries, strict=True):
        if primary is None:
            return f"the primary outcome of {name} was not measured (verdict.primary, evaluate)"
    if made.matrix.primaries[0] == made.matrix.primaries[1]:
        return "both contrasts have the same primary outcome (verdict.primary)"
    return "two random sets of each mask are needed (--controls)"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def to_json(made: Dissociated) -> dict[str, Any]:
    """Return the result as JSON values; null stands for what is not finite."""
    primaries = zip(made.names, made.matrix.primaries, strict=True)
    value: dict[str, Any] = nulled(
        {
            "model": made.model,
            "runs": {n: str(folder) for n, folder in zip(made.names, made.folders, strict=True)},
            "deeploc": version("deeploc"),
            "level": ALPHA,
            "rule": RULE,
            "primary": {name: _column(column) if column else None for name, column in primaries},
            "kinds": {kind: _kind(kind, made) for kind in made.matrix.rows},
        }
    )
    return value


def _kind(kind: str, made: Dissociated) -> dict[str, Any]:
    double = made.doubles[kind]
    singles = zip(made.names, (double.first, double.second), strict=True)
    return {
        "double": {
            "answer": double.answer,
            "difference": double.difference,
            "p": double.p,
            "adjusted_p": double.adjusted,
        },
        "single": {name: asdict(one) | {"p": one.p} if one else None for name, one in singles},
        "shared_units": made.matrix.shared[kind],
        "masks": {ablated.of: _mask(ablated) for ablated in made.matrix.rows[kind]},
    }


def _mask(ablated: Ablated) -> dict[str, Any]:
    cell = ablated.cell
    return {
        "mask": cell.mask,
        "percent": cell.percent,
        "mode": cell.mode,
        "n_units": ablated.n_units,
        "outcomes": [
            {
                **_column(column),
                "intact": damage.intact,
                "ablated": damage.ablated,
                "change": ablated.changes[column].value,
                "change_low": ablated.changes[column].low,
                "change_high": ablated.changes[column].high,
                "z": damage.z(damage.observed),
                "random": list(damage.controls.values()),
                "n_items": damage.n,
            }
            for column, damage in ablated.damages.items()
        ],
    }


def _column(column: Column) -> dict[str, Any]:
    task, metric, condition = column.outcome
    return {
        "task_of": column.of,
        "task": task,
        "metric": metric,
        "condition": condition,
        "better": column.better,
    }


def render(made: Dissociated) -> str:
    """Return dissociation.html; the same result gives the same bytes."""
    n_controls = {
        len(damage.controls)
        for pair in made.matrix.rows.values()
        for ablated in pair
        for damage in ablated.damages.values()
    }
    page = {
        "made": made,
        "answers": [(answer_of(kind, made), lines_of(kind, made)) for kind in made.matrix.rows],
        "tables": tables_of(made),
        "rule": RULE,
        "n_controls": sorted(n_controls),
        "deeploc": version("deeploc"),
    }
    return template("dissociation.html.jinja").render(page)
