"""The audit of a run as tables of text, for the terminal and for the report."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from deeploc.analysis.confounds import format_mean

Properties = Mapping[str, Any]
"""What was counted of the stimuli of one condition."""


class Table(NamedTuple):
    """Column headings and one row per condition; all columns but the first are numeric."""

    head: list[str]
    rows: list[list[str]]


def tables(audit: Mapping[str, Any]) -> list[Table]:
    """Return a table of the stimuli and, where tokens were counted, one of the tokens.

    Parameters
    ----------
    audit
        The audit of a manifest. Spreads become ``mean (min-max)``, or a single value where all
        stimuli have the same.
    """
    conditions: Mapping[str, Properties] = audit.get("conditions") or {}
    made = [_table(conditions, columns) for columns in (_STIMULI, _TOKENS)]
    cut = f"truncated at {audit['limit']:,}" if audit.get("limit") else "truncated"
    return [
        Table([cut if head == "truncated" else head for head in table.head], table.rows)
        for table in made
        if len(table.head) > 1
    ]


def _table(conditions: Mapping[str, Properties], columns: Mapping[str, "_Column"]) -> Table:
    """Return the columns that at least one of the conditions has."""
    present = {
        head: (key, write)
        for head, (key, write) in columns.items()
        if any(key in counted for counted in conditions.values())
    }
    rows = [
        [name, *(write(counted[key]) if key in counted else "" for key, write in present.values())]
        for name, counted in conditions.items()
    ]
    return Table(["condition", *present], rows)


def _count(n: int) -> str:
    return f"{n:,}"


def _spread(values: Mapping[str, float]) -> str:
    low, high = format_mean(values["min"]), format_mean(values["max"])
    return low if low == high else f"{format_mean(values['mean'])} ({low}-{high})"


def _range(values: Mapping[str, float]) -> str:
    low, high = format_mean(values["min"]), format_mean(values["max"])
    return low if low == high else f"{low}-{high}"


def _deviation(values: Mapping[str, float]) -> str:
    return f"{values['mean']:.3f} ± {values['sd']:.3f}"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 ", " ")


_Column = tuple[str, Callable[[Any], str]]
"""The key of a property in the audit, and how its value is written."""

_STIMULI: Mapping[str, _Column] = {
    "n": ("n", _count),
    "repeats": ("duplicates", _count),
    "in others": ("elsewhere", _count),
    "words": ("words", _spread),
    "characters": ("characters", _spread),
    "width": ("width", _range),
    "height": ("height", _range),
    "luminance": ("luminance", _deviation),
}
_TOKENS: Mapping[str, _Column] = {
    "tokens": ("tokens", _spread),
    "truncated": ("truncated", _share),
    "words left": ("words_left", _spread),
    "not word-final": ("not_word_final", _share),
    "BOS": ("bos", _share),
}
