"""Why no unit of a kind of site is selected, and what to do about it."""

from math import ceil

from deeploc.contrast.selecting import Select
from deeploc.core.selection import count_of
from deeploc.core.units import Layout, UnitMask


def without_units(layout: Layout, select: Select) -> dict[str, str]:
    """Return the kinds of site that are too small for a rule, and why and what to do.

    Parameters
    ----------
    layout
        The sites that are read.
    select
        The rule, as a contrast file states it.

    Examples
    --------
    >>> from deeploc.core.units import Site
    >>> layout = Layout((Site("a", "heads", 16), Site("b", "block", 256)))
    >>> without_units(layout, Select(percent=1))["heads"][:44]
    '1 % of 16 heads units is less than one unit;'
    >>> list(without_units(layout, Select(k=1)))
    []
    """
    if select.percent is None:
        return {}
    sizes = {kind: int(layout.of_kind(kind).sum()) for kind in layout.kinds}
    return {
        kind: f"{select.percent:g} % of {n:,} {kind} units is less than one unit; write `--set "
        f"'select={{k: 1}}'`, or {_least_percent(n):g} % or more: `--set "
        f"select.percent={_least_percent(n):g}`"
        for kind, n in sizes.items()
        if n and not count_of(select.percent, n)
    }


def nothing_selected(mask: UnitMask, select: Select) -> dict[str, str]:
    """Return the kinds of site of which no unit is selected, and why and what to do.

    Parameters
    ----------
    mask
        The selected units.
    select
        The rule that selected them.
    """
    too_small = without_units(mask.layout, select)
    why = (
        "no unit is selected: none has a score that the rule takes; choose another rule (`select`)"
    )
    if select.fdr is not None:
        why = f"no unit has t > 0 and q ≤ {select.fdr:g}; write `--set 'select={{k: 1}}'`"
    empty = [kind for kind in mask.layout.kinds if not len(mask.of_kind(kind))]
    return {kind: too_small.get(kind, why) for kind in empty}


def _least_percent(n_units: int) -> float:
    """Return a percentage of few digits that is at least one of so many units."""
    digits, percent = 1, 100.0
    while digits < 9 and percent > 110 / n_units:
        percent = ceil(100 / n_units * 10**digits) / 10**digits
        digits += 1
    return percent
