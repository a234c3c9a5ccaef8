"""The audit of a run as tables of words, for the terminal and for the report."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from deeploc.analysis.confounds import told

Counted = Mapping[str, Any]


class Table(NamedTuple):
    """A head and its rows, a condition each; all but the first column are numbers."""

    head: list[str]
    rows: list[list[str]]


def tables(audit: Mapping[str, Any]) -> list[Table]:
    """Return one table of what is shown and, where tokens were counted, one of them.

    ``audit`` is that of a manifest. A spread is told as ``mean (min-max)``, or as its only value.
    """
    conditions: Mapping[str, Counted] = audit.get("conditions") or {}
    found = [_table(conditions, columns) for columns in (_SHOWN, _TOKENS)]
    cut = f"truncated at {audit['limit']:,}" if audit.get("limit") else "truncated"
    return [
        Table([cut if head == "truncated" else head for head in table.head], table.rows)
        for table in found
        if len(table.head) > 1
    ]


def _table(conditions: Mapping[str, Counted], columns: Mapping[str, "_Column"]) -> Table:
    """Return the columns that at least one of the conditions has."""
    there = {
        head: (key, write)
        for head, (key, write) in columns.items()
        if any(key in counted for counted in conditions.values())
    }
    rows = [
        [name, *(write(counted[key]) if key in counted else "" for key, write in there.values())]
        for name, counted in conditions.items()
    ]
    return Table(["condition", *there], rows)


def _count(n: int) -> str:
    return f"{n:,}"


def _spread(values: Mapping[str, float]) -> str:
    low, high = told(values["min"]), told(values["max"])
    return low if low == high else f"{told(values['mean'])} ({low}-{high})"


def _range(values: Mapping[str, float]) -> str:
    low, high = told(values["min"]), told(values["max"])
    return low if low == high else f"{low}-{high}"


def _deviation(values: Mapping[str, float]) -> str:
    return f"{values['mean']:.3f} ± {values['sd']:.3f}"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 ", " ")


_Column = tuple[str, Callable[[Any], str]]
_SHOWN: Mapping[str, _Column] = {
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
