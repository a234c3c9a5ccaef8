"""Why no unit of a kind of site is selected, or fewer than asked for, and what to do about it."""

from collections.abc import Mapping
from math import ceil

import numpy as np

from deeploc.contrast.selecting import Select
from deeploc.core.selectable import selectable
from deeploc.core.selection import count_of
from deeploc.core.units import Layout, StatMap, UnitMask


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


def without_variance(stat_map: StatMap, pool: str) -> dict[str, str]:
    """Return the kinds of site of which no unit varies over the stimuli, and what to do.

    Parameters
    ----------
    stat_map
        The statistics.
    pool
        How positions were read.
    """
    layout, found = stat_map.layout, {}
    for kind in layout.kinds:
        among = layout.of_kind(kind)
        if not stat_map.constant[among].any() or selectable(stat_map, among).any():
            continue
        means = np.stack([mean[among] for mean in stat_map.means.values()])
        rounding = 8 * np.finfo(np.float32).eps  # two kernels may round one activation otherwise
        within = np.allclose(means, means[0], rtol=rounding, atol=0)
        changes = "changes over these stimuli" if within else "changes within a condition"
        read = ": pool last reads the same token in all of them"
        why = read * (kind == "embedding" and pool == "last" and within)
        other = "mean" if pool != "mean" else "max"
        found[kind] = (
            f"no unit of {kind} {changes}{why}, so that none is selected; read them otherwise "
            f"(`--set read.pool={other}`), or leave the kind out"
        )
    return found


def too_few_vary(stat_map: StatMap, mask: UnitMask, select: Select) -> list[str]:
    """Return a line for every kind of site of which fewer units vary than the rule asks for.

    Parameters
    ----------
    stat_map
        The statistics.
    mask
        The selected units.
    select
        The rule that selected them.
    """
    layout, lines = mask.layout, []
    for kind in layout.kinds:
        among = layout.of_kind(kind)
        n, own = int(among.sum()), len(mask.of_kind(kind))
        percent = 0.0 if select.percent is None else select.percent
        wanted = count_of(percent, n) if select.k is None else select.k
        if 0 < own < wanted and stat_map.constant[among].any():
            lines.append(
                f"{own:,} of {n:,} {kind} units are selected and not {wanted:,}: the others do "
                "not change over these stimuli"
            )
    return lines


def fewer(stat_map: StatMap, kind: str, percent: float, wanted: int, n: int) -> str | None:
    """Return what is said of a dose of fewer units than its percentage, None where it has all.

    Parameters
    ----------
    stat_map
        The statistics.
    kind
        The kind of site.
    percent
        The dose.
    wanted, n
        How many units these are, and how many are ablated.
    """
    among = stat_map.layout.of_kind(kind)
    size, n_constant = int(among.sum()), int((stat_map.constant & among).sum())
    if not n and n_constant == size:
        return f"no {kind} unit changes over these stimuli: {percent:g} % not ablated"
    if not n:
        return f"{percent:g} % of {size:,} {kind} units is no unit: not ablated"
    if n >= wanted:
        return None
    why = "constant, or non-finite activation" if n_constant else "non-finite activation"
    return (
        f"{percent:g} % of {size:,} {kind} units are {wanted:,}, of which {wanted - n:,} have no "
        f"t ({why}): the other {n:,} are ablated"
    )


def nothing_selected(
    mask: UnitMask, select: Select, constant: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the kinds of site of which no unit is selected, and why and what to do.

    Parameters
    ----------
    mask
        The selected units.
    select
        The rule that selected them.
    constant
        The kinds of which no unit varies, and what to do, from `without_variance`.
    """
    known = {**without_units(mask.layout, select), **(constant or {})}
    why = (
        "no unit is selected: none has a score that the rule takes; choose another rule (`select`)"
    )
    if select.fdr is not None:
        why = f"no unit has t > 0 and q ≤ {select.fdr:g}; write `--set 'select={{k: 1}}'`"
    empty = [kind for kind in mask.layout.kinds if not len(mask.of_kind(kind))]
    return {kind: known.get(kind, why) for kind in empty}


def _least_percent(n_units: int) -> float:
    """Return a percentage of few digits that is at least one of so many units."""
    digits, percent = 1, 100.0
    while digits < 9 and percent > 110 / n_units:
        percent = ceil(100 / n_units * 10**digits) / 10**digits
        digits += 1
    return percent
