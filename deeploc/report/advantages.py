"""Tables of what selected units tell, beside as many units at random."""

from collections.abc import Sequence
from math import isnan
from statistics import median

from deeploc.core.advantage import Advantage
from deeploc.core.effects import MIN_CONTROLS
from deeploc.core.stats import ALPHA
from deeploc.report.text import format_number

Table = tuple[str, list[str], list[list[str]]]
"""Title, header and rows."""

HEAD = ["", "selected", "[95 % CI]", "random", "[min, max]", "p"]


def tables_of(advantages: Sequence[Advantage]) -> list[Table]:
    """Return a table per task, kind of site and mask: a row per metric and condition.

    Parameters
    ----------
    advantages
        Those of a run.
    """
    blocks: dict[tuple[str, str, float, str], list[Advantage]] = {}
    for each in advantages:
        blocks.setdefault((each.task, each.sites, each.percent, each.mask), []).append(each)
    tables = []
    for (task, sites, percent, mask), block in blocks.items():
        units = f"the top {percent:.3g} %" if mask == "top" else f"the selected {percent:.3g} %"
        title = f"{task}, {sites}: {units} of the units, read"
        rows = [row for each in block for row in _rows(each)]
        tables.append((title, HEAD, rows))
    return tables


def explanation(advantages: Sequence[Advantage]) -> str:
    """Return what the columns mean.

    Parameters
    ----------
    advantages
        Those of a run; at least one.
    """
    n = sorted({len(each.controls) for each in advantages})
    items = sorted({each.n_items for each in advantages})
    few = f"; p can fall to {ALPHA} only with {MIN_CONTROLS}" if n[0] < MIN_CONTROLS else ""
    return (
        "Nothing is ablated, and none of this enters the verdict. random: median of "
        f"{' or '.join(map(str, n))} sets of as many other units at the same sites{few}. p: the "
        "share of these sets, and of the units themselves, that do as well (one-sided, not "
        f"corrected). CI: bootstrap over {' or '.join(map(str, items))} passages, or stimuli "
        "where passages are not known."
    )


def _rows(each: Advantage) -> list[list[str]]:
    interval = f"[{format_number(each.ci_low)}, {format_number(each.ci_high)}]"
    controls = each.controls
    middle = format_number(median(controls)) if controls else "-"
    span = f"[{format_number(min(controls))}, {format_number(max(controls))}]" if controls else "-"
    depends = any(value != each.value for value in controls)  # else units have no part in it
    p = f"{each.p:.3f}" if depends and not isnan(each.p) else "-"
    name = each.metric if each.condition in ("", "all") else f"{each.metric} {each.condition}"
    row = [name, format_number(each.value), interval, middle, span, p]
    others = [[f"  {mask}", "", "", format_number(value), "", ""] for mask, value in each.others]
    return [row, *others]
