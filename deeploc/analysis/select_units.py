"""The contrast's own selection: its rule applied to each kind of site."""

from math import ceil, floor

import numpy as np

from deeploc.contrast.selecting import Select
from deeploc.core import selection
from deeploc.core.selectable import n_selectable
from deeploc.core.selection import count_of
from deeploc.core.units import Layout, Selection, StatMap, UnitMask


def select_units(stat_map: StatMap, select: Select) -> UnitMask:
    """Return the selected units: ``select`` applied to the sites of each kind on their own.

    Units that do not vary over the stimuli are never selected: there are then fewer than the rule
    asks for, perhaps none.

    Parameters
    ----------
    stat_map
        The statistics that units are ranked by.
    select
        The rule, as a contrast file states it.

    Raises
    ------
    ValueError
        If the rule asks for more units than there are.
    """
    parts = [_select(stat_map, select, kind).selected for kind in stat_map.layout.kinds]
    return UnitMask(stat_map.layout, np.logical_or.reduce(parts))


def check_sizes(layout: Layout, select: Select) -> None:
    """Refuse a selection of more units than a kind of site has, before anything is read.

    Parameters
    ----------
    layout
        The sites that will be read.
    select
        The rule, as a contrast file states it.

    Raises
    ------
    ValueError
        If the rule cannot be met whatever the statistics are.
    """
    for kind in layout.kinds:
        n = int(layout.of_kind(kind).sum())
        if select.k is not None and select.k > n:
            raise ValueError(f"k is {select.k:,} but there are {n:,} {kind} units; lower k")
        if select.percentile is not None and select.percent is not None:
            low, high = select.percentile
            k = count_of(select.percent, n)
            if k > _n_between(low, high, n):
                raise ValueError(
                    f"percent {select.percent:g} is {k:,} of {n:,} {kind} units, but only "
                    f"{_n_between(low, high, n):,} lie between the percentiles {low:g} and "
                    f"{high:g}; lower percent or widen the range"
                )


def _select(stat_map: StatMap, select: Select, kind: str) -> UnitMask:
    among = stat_map.layout.of_kind(kind)
    if select.k is not None:
        return selection.top_k(stat_map, _without_constant(select.k, stat_map, among), among)
    if select.fdr is not None:
        return selection.fdr(stat_map, select.fdr, among)
    if select.percentile is not None:
        share = select.percent
        k = None if share is None else count_of(share, int(among.sum()))
        low, high = select.percentile
        if k is not None:
            inside = selection.between_percentiles(stat_map, low, high, among)
            k = _without_constant(k, stat_map, among, inside)
        return selection.percentile_range(stat_map, low, high, k, seed=select.seed, among=among)
    rule = selection.bottom_percent if select.tail == "bottom" else selection.top_percent
    return rule(stat_map, 1.0 if select.percent is None else select.percent, among)


def _without_constant(
    k: int, stat_map: StatMap, among: Selection, inside: Selection | None = None
) -> int:
    """Return k, or how many units there are where more would be only if constant ones counted."""
    n = n_selectable(stat_map, among if inside is None else inside)
    n_constant = int((stat_map.constant & among).sum())
    return min(k, n) if k <= n + n_constant else k


def _n_between(low: float, high: float, n: int) -> int:
    """Return how many of ``n`` different values lie between two percentiles, both included.

    NumPy places percentile q of n sorted values at rank ``q / 100 * (n - 1)``.
    """
    return floor(high / 100 * (n - 1)) - ceil(low / 100 * (n - 1)) + 1
