"""Figures of several runs: where the units that each selects are, and two statistics of all units.

Each is one accessible, self-contained SVG string. matplotlib is imported when the first figure is
made, not with this module.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from deeploc.core.stats import Vector
from deeploc.core.units import Selection, UnitMask
from deeploc.report.figures import chance_band
from deeploc.report.site_counts import SiteCounts
from deeploc.report.svg import CONTROL, INTACT, SELECTED, Plot

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_POINTS: tuple[dict[str, Any], ...] = (
    {"color": "#0369a1", "marker": "v", "label": "only the first"},
    {"color": "#7c3aed", "marker": "^", "label": "only the second"},
    {"color": SELECTED, "marker": "o", "label": "both select"},
)
"""Units that only the first, only the second, or both runs select: told apart in grey, too."""

_BINS = 90
"""Cells per axis of the density of all units."""

_DARK = 20
"""Fewest units of a cell that may be black: single units stay grey."""


def site_figure(masks: Mapping[int, UnitMask], kind: str) -> str:
    """Return the share of each run's selected units per site, a panel per run.

    The bands are those of `deeploc.report.figures.chance_band`, as shares.

    Parameters
    ----------
    masks
        Number of the run, from 1 -> its selected units; each has sites of the kind.
    kind
        The kind of site.
    """
    counts = {n: found for n, mask in masks.items() if (found := SiteCounts.of(mask, kind))}

    def plot(figure: "matplotlib.figure.Figure") -> None:
        panels = figure.subplots(len(counts), 1, squeeze=False)[:, 0]
        for ax, (number, found) in zip(panels, counts.items(), strict=True):
            _plot_sites(ax, found, chance_band(masks[number], kind))
            ax.set_ylabel(f"run {number}", rotation=0, ha="right", va="center")
        panels[0].set_title(kind)
        panels[-1].set_xlabel("depth (0 = first site)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=3, loc="outside lower center")

    desc = "; ".join(f"run {number}: {_peak(found)}" for number, found in counts.items())
    height = 1.0 + 0.75 * len(counts)
    return Plot(plot, height, f"Share of selected units per site: {kind}", desc).inline()


def _plot_sites(
    ax: "matplotlib.axes.Axes", found: SiteCounts, band: tuple[np.ndarray, np.ndarray]
) -> None:
    x, chance = np.arange(len(found.names)), np.array(found.chance)
    low, high = (bound / max(found.total, 1) for bound in band)
    ax.bar(x, high - low, 0.84, low, color=CONTROL, alpha=0.4, label="95 % chance band")
    ax.bar(x, found.shares, 0.58, color=SELECTED, label="selected")
    ax.hlines(chance, x - 0.42, x + 0.42, color=INTACT, lw=1.2, label="chance")
    ax.set_ylim(0, max(*found.shares, *high) * 1.12 or 1)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    ax.locator_params(axis="x", integer=True)
    ax.locator_params(axis="y", nbins=3)
    ax.margins(x=0.02)


def _peak(found: SiteCounts) -> str:
    if not found.total:
        return "no unit is selected"
    most = f"{found.counts[found.peak]} of {found.total}"
    return f"most in {found.names[found.peak]}, {most}"


def pair_figure(
    t: tuple[Vector, Vector],
    selected: tuple[Selection, Selection],
    labels: tuple[str, str],
    *,
    title: str,
    desc: str,
) -> str:
    """Return the statistics of two runs against each other, the selected units highlighted.

    All units are a grey density, the darker the more units (logarithmic); those that either run
    selects are points. Units that are not finite in both are left out.

    Parameters
    ----------
    t
        The statistic of every unit, in both runs.
    selected
        The units that each selects.
    labels
        What the axes are called.
    title, desc
        As for `deeploc.report.svg.Plot`.
    """
    finite = np.isfinite(t[0]) & np.isfinite(t[1])
    x, y = t[0][finite], t[1][finite]
    first, second = (chosen[finite] for chosen in selected)

    def plot(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        ax.use_sticky_edges = False  # else the density would cut off points at its edge
        _plot_density(ax, x, y)
        groups = (first & ~second, second & ~first, first & second)
        for units, style in zip(groups, _POINTS, strict=True):
            _plot_points(ax, x, y, units, style)
        ax.axhline(0, color=INTACT, lw=0.6, ls=(0, (4, 2)))
        ax.axvline(0, color=INTACT, lw=0.6, ls=(0, (4, 2)))
        ax.set(xlabel=labels[0], ylabel=labels[1], title=f"{title}\n{desc}")
        figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center")

    return Plot(plot, 3.9, title, desc).inline()


def _plot_density(ax: "matplotlib.axes.Axes", x: Vector, y: Vector) -> None:
    if not x.size:
        return
    counts, columns, rows = np.histogram2d(x, y, bins=_BINS)
    shade: Float64[np.ndarray, "row column"] = np.log1p(counts.T)
    darkest = max(float(shade.max()), np.log1p(_DARK))
    shown = np.ma.masked_equal(shade, 0)
    # an image, not a path per cell: the page stays small
    ax.pcolormesh(
        columns, rows, shown, cmap="Greys", vmin=-darkest / 4, vmax=darkest, rasterized=True
    )


def _plot_points(
    ax: "matplotlib.axes.Axes", x: Vector, y: Vector, units: Selection, style: dict[str, Any]
) -> None:
    ax.scatter(x[units], y[units], s=11, linewidths=0, rasterized=True, **style)
