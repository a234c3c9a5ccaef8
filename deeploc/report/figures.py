"""Figures of the report: each is one accessible, self-contained SVG string.

Importing this module does not import matplotlib: drawing the first figure does.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from deeploc.core.effects import Effect
from deeploc.core.selection import expected_per_site
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.report.svg import inline_svg
from deeploc.report.text import Row, further_controls, label, number, row_of

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

TOP, CONTROL, INTACT = "#c2410c", "#8b93a1", "#1f2937"
_OTHERS = (("#0369a1", "v"), ("#15803d", "s"), ("#a21caf", "D"), ("#854d0e", "P"))


def depth_figure(mask: UnitMask, kind: str) -> str:
    """Return selected units per site of ``kind``, in forward order, against chance.

    The band holds the middle 95 % of the counts of each site if as many units were drawn from
    the whole kind without replacement (hypergeometric), one site at a time.
    """
    part = _part(mask, kind)
    observed = np.array([int(part.at(site.name).sum()) for site in part.layout.sites])
    expected = np.array(list(expected_per_site(part).values()))
    low, high = chance_band(mask, kind)

    def draw(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        at = np.arange(len(observed))
        ax.bar(at, high - low, 0.84, low, color=CONTROL, alpha=0.4, label="95 % of chance draws")
        ax.bar(at, observed, 0.58, color=TOP, label="selected")
        ax.hlines(expected, at - 0.42, at + 0.42, color=INTACT, lw=1.2, label="chance")
        ax.set(xlabel="depth (0 = first site)", ylabel="units", title=kind)
        ax.locator_params(integer=True)
        ax.margins(x=0.02)
        ax.set_ylim(0, max(observed.max(), high.max(), 1) * 1.12)
        figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center")

    peak = part.layout.sites[int(observed.argmax())].name
    desc = f"{len(part)} units are selected; {peak} holds the most, {observed.max()}"
    return inline_svg(draw, 2.5, f"Selected units per site: {kind}", desc)


def chance_band(
    mask: UnitMask, kind: str
) -> tuple[Int[np.ndarray, " site"], Int[np.ndarray, " site"]]:
    """Return the 2.5 % and 97.5 % points of the selected units per site of ``kind`` by chance.

    Chance is drawing as many units from the whole kind without replacement (hypergeometric).
    """
    from scipy.stats import hypergeom

    part = _part(mask, kind)
    sizes = np.array([site.n_units for site in part.layout.sites])
    bounds = hypergeom(part.layout.n_units, sizes, len(part)).ppf([[0.025], [0.975]])
    low, high = bounds.astype(np.int64)
    return low, high


def t_figure(stat_map: StatMap, mask: UnitMask, kind: str) -> str:
    """Return the histogram of t over the units of ``kind``, the selected ones marked."""
    among = mask.layout.of_kind(kind) & np.isfinite(stat_map.t)
    t, chosen = stat_map.t[among], stat_map.t[among & mask.selected]

    def draw(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        bins = np.histogram_bin_edges(t, bins=60).tolist() if t.size else [0.0, 1.0]
        ax.hist(t, bins=bins, color=CONTROL, label="all units")
        ax.hist(chosen, bins=bins, color=TOP, label="selected")
        if chosen.size:
            edge = f"lowest selected t = {chosen.min():.3g}"
            ax.axvline(chosen.min(), color=INTACT, lw=1.1, ls=(0, (4, 2)), label=edge)
        _log_y(ax)
        ax.set(xlabel="t", ylabel="units (log scale)", title=kind, ylim=(0.7, None))
        figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center")

    edge = f"the lowest selected t is {chosen.min():.3g}" if chosen.size else "none is selected"
    return inline_svg(draw, 2.5, f"Distribution of t: {kind}", f"{t.size} units; {edge}")


def dose_figure(effects: Sequence[Effect], sites: str, rows: Sequence[Row]) -> str:
    """Return dose against value: a row per (task, metric, condition), a column per mode.

    Of ``effects`` those at ``sites`` and in ``rows`` are drawn.
    """
    here = [e for e in effects if e.sites == sites and row_of(e) in rows]
    modes = list(dict.fromkeys(e.mode for e in here))
    doses = sorted({e.percent for e in here})

    def draw(figure: "matplotlib.figure.Figure") -> None:
        axes = figure.subplots(len(rows), len(modes), squeeze=False, sharey="row", sharex=True)
        for line, row in zip(axes, rows, strict=True):
            span = value_range([e for e in here if row_of(e) == row])
            for ax, mode in zip(line, modes, strict=True):
                cell = [e for e in here if (row_of(e), e.mode) == (row, mode)]
                _draw_dose(ax, sorted(cell, key=lambda e: e.percent), doses, span)
            line[0].set_ylabel(_row_label(row, here), fontsize=7.5)
        for ax, mode in zip(axes[0], modes, strict=True):
            ax.set_title(f"{sites}, {mode}")
        figure.supxlabel("units ablated (% of this kind)", fontsize=8)
        unique = {label: h for ax in axes.flat for h, label in zip(*_handles(ax), strict=True)}
        figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=3)

    height = 0.85 + 1.35 * len(rows)
    names = "; ".join(label(*row) for row in rows)
    return inline_svg(draw, height, f"Dose and effect: {sites}", f"Panels from above: {names}")


def value_range(effects: Iterable[Effect]) -> tuple[float, float]:
    """Return the smallest and largest finite value of some effects, controls included."""
    every = (
        v for e in effects for v in (e.intact, e.ablated, *e.controls, *(x for _, x in e.others))
    )
    finite = [v for v in every if isfinite(v)] or [0.0]
    return min(finite), max(finite)


def _draw_dose(
    ax: "matplotlib.axes.Axes",
    cell: Sequence[Effect],
    doses: Sequence[float],
    span: tuple[float, float],
) -> None:
    ends = _limits(ax, *span)
    ax.set_xticks(range(len(doses)), [f"{dose:g}" for dose in doses])
    ax.set(xlim=(-0.5, len(doses) - 0.5), ylim=ends)
    if cell:
        intact = [cell[0].intact] * 2
        _points(ax, [-0.5, len(doses) - 0.5], intact, color=INTACT, ls="--", label="intact")
    at = [doses.index(effect.percent) for effect in cell]
    for x, effect in zip(at, cell, strict=True):
        for place, values, look in _control_points(effect):
            _points(ax, [x + place] * len(values), values, ls="none", **look)
    top = [effect.ablated for effect in cell]
    look = {"color": TOP, "marker": "o", "ms": 5, "label": "selected units"}
    _points(ax, [x - 0.2 for x in at], top, **look)


def _control_points(effect: Effect) -> Iterator[tuple[float, Sequence[float], dict[str, Any]]]:
    """Yield (where beside the dose, values, how to draw them) of each sort of control."""
    random = {"color": CONTROL, "marker": "o", "alpha": 0.6, "label": "matched random"}
    if effect.controls:  # matplotlib cannot lay out a row of which a part is empty
        yield 0.0, effect.controls, random
    for n, (name, values) in enumerate(further_controls(effect).items()):
        colour, marker = _OTHERS[n % len(_OTHERS)]
        yield 0.2, values, {"color": colour, "marker": marker, "label": name}


def _points(
    ax: "matplotlib.axes.Axes", x: Sequence[float], values: Sequence[float], **look: Any
) -> None:
    """Draw values; one that is not finite stands at the upper end of the axis, named."""
    ceiling = ax.get_ylim()[1]
    y = [v if isfinite(v) else ceiling for v in values]
    ax.plot(x, y, **{"ms": 3.2, "mew": 0, "lw": 1.1, "clip_on": False} | look)
    for at, value in zip(x, values, strict=True):
        if not isfinite(value):
            ax.annotate(number(value), (at, ceiling), (0, 2), textcoords="offset points")


def _limits(ax: "matplotlib.axes.Axes", low: float, high: float) -> tuple[float, float]:
    """Set the scale and return the ends of the y axis; a wide range is drawn in logarithms."""
    if low > 0 and high / low > 8:
        _log_y(ax)
        room = (high / low) ** 0.12
        return low / room, high * room
    room = (high - low or abs(high) or 1.0) * 0.12
    return low - room, high + room


def _log_y(ax: "matplotlib.axes.Axes") -> None:
    from matplotlib.ticker import LogLocator

    ax.set_yscale("log", nonpositive="clip")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # the default writes TeX
    ax.yaxis.set_minor_formatter(lambda *_: "")


def _row_label(row: Row, here: Sequence[Effect]) -> str:
    task, metric, condition = row
    better = next((e.better for e in here if (e.task, e.metric) == (task, metric)), "")
    lines = [
        shorten(line, 26, placeholder="…") for line in wrap(label(task, metric, condition), 22)
    ]
    return "\n".join([*lines[:2], f"{better} is better"])


def _handles(ax: "matplotlib.axes.Axes") -> tuple[Sequence[Any], Sequence[str]]:
    handles, labels = ax.get_legend_handles_labels()
    return handles, labels


def _part(mask: UnitMask, kind: str) -> UnitMask:
    sites = tuple(site for site in mask.layout.sites if site.kind == kind)
    return UnitMask(Layout(sites), mask.selected[mask.layout.of_kind(kind)])
