"""Figures of the units: where they are, how selective they are, what they respond to.

Each is one plot. matplotlib is imported when the first one is drawn, not with this module.
"""

from collections.abc import Sequence
from math import isnan
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from deeploc.contrast.comparison import Comparison
from deeploc.core.responses import Profile, Response, Units
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.report.svg import CONTROL, INTACT, SELECTED, Plot, use_log_scale
from deeploc.report.text import format_number

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_NARROW, _HEIGHT = 2.95, 2.4
"""Inches of the two figures that stand side by side beside the verdict."""

_MAX_LABEL = 24
"""Most characters of a condition's name."""

_STYLES: dict[Units, dict[str, Any]] = {
    "selected": {"color": SELECTED, "fmt": "o", "ms": 5, "label": "selected units"},
    "random": {"color": CONTROL, "fmt": "s", "ms": 4, "label": "random units"},
    "all": {"color": INTACT, "fmt": "D", "ms": 3.6, "mfc": "white", "label": "all units"},
}


def sites_figure(mask: UnitMask, kind: str) -> Plot:
    """Return the share of selected units per site, the input above, and what chance would give.

    The band is that of `chance_band`.

    Parameters
    ----------
    mask
        The selected units.
    kind
        The kind of site.
    """
    part = _part(mask, kind)
    names, sizes = zip(*((site.name, site.n_units) for site in part.layout.sites), strict=True)
    observed = 100 * np.array([part.at(name).sum() for name in names]) / sizes
    low, high = (100 * bound / sizes for bound in chance_band(mask, kind))
    chance = 100 * len(part) / part.layout.n_units

    def plot(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        y = np.arange(len(names))
        ax.barh(y, high - low, 0.9, low, color=CONTROL, alpha=0.4, label="95 % by chance")
        ax.barh(y, observed, 0.56, color=SELECTED, label="selected")
        ax.axvline(chance, color=INTACT, lw=1.1, ls=(0, (4, 2)), label="expected")
        ax.set(xlabel="selected units (% of the site)", ylabel="site (input above)", title=kind)
        ax.locator_params("y", integer=True)
        ax.set_xlim(0, max(observed.max(), high.max(), 0.1) * 1.08)
        ax.set_ylim(len(names) - 0.4, -0.6)
        _add_legend(figure)

    peak = int(observed.argmax())
    desc = (
        f"{len(part)} units are selected; {names[peak]} has the largest share, "
        f"{observed[peak]:.3g} %, where {chance:.3g} % are expected by chance"
    )
    return Plot(plot, _HEIGHT, f"Selected units per site: {kind}", desc, _NARROW)


def chance_band(
    mask: UnitMask, kind: str
) -> tuple[Int[np.ndarray, " site"], Int[np.ndarray, " site"]]:
    """Return the 2.5 % and 97.5 % points of the number of selected units per site by chance.

    Chance is sampling as many units from all sites of the kind without replacement: the count of
    one site is hypergeometric. The band is that of each site separately.

    Parameters
    ----------
    mask
        The selected units.
    kind
        The kind of site.
    """
    from scipy.stats import hypergeom

    part = _part(mask, kind)
    sizes = np.array([site.n_units for site in part.layout.sites])
    bounds = hypergeom(part.layout.n_units, sizes, len(part)).ppf([[0.025], [0.975]])
    low, high = bounds.astype(np.int64)
    return low, high


def t_figure(stat_map: StatMap, mask: UnitMask, kind: str, statistic: str = "t") -> Plot:
    """Return the histogram of the statistic over units, the selected ones highlighted.

    Parameters
    ----------
    stat_map
        The statistics; units without a finite t are left out.
    mask
        The selected units.
    kind
        The kind of site.
    statistic
        The symbol of what units are ranked by.
    """
    among = mask.layout.of_kind(kind) & np.isfinite(stat_map.t)
    t, selected = stat_map.t[among], stat_map.t[among & mask.selected]

    def plot(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        bins = np.histogram_bin_edges(t, bins=60).tolist() if t.size else [0.0, 1.0]
        counts, *_ = ax.hist(t, bins=bins, color=CONTROL, alpha=0.75, label="all units")
        ax.hist(selected, bins=bins, color=SELECTED, label="selected")
        if selected.size:
            edge = f"{statistic} ≥ {selected.min():.3g}"
            ax.axvline(selected.min(), color=INTACT, lw=1.1, ls=(0, (4, 2)), label=edge)
        use_log_scale(ax, 0.7, 1.6 * max(1.0, float(np.max(counts))))
        ax.set(xlabel=statistic, ylabel="units (log scale)", title=kind)
        _add_legend(figure)

    edge = (
        f"the lowest selected {statistic} is {selected.min():.3g}"
        if selected.size
        else "none is selected"
    )
    title, desc = f"Distribution of {statistic}: {kind}", f"{t.size} units; {edge}"
    return Plot(plot, _HEIGHT, title, desc, _NARROW)


def profile_figure(profile: Profile, kind: str, comparison: Comparison) -> Plot:
    """Return the mean z of each group of units with its 95 % interval, a row per condition.

    The names of the preferred conditions are bold, of those outside the comparison italic.

    Parameters
    ----------
    profile
        The response profile of a run.
    kind
        The kind of site.
    comparison
        Which conditions the contrast prefers to which.
    """
    rows = {units: profile.of(kind, units) for units in _STYLES}
    conditions = [row.condition for row in rows["selected"]]

    def plot(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        for edge in range(1, len(conditions)):
            ax.axhline(edge - 0.5, color=CONTROL, lw=0.5, alpha=0.35)
        ax.axvline(0, color=INTACT, lw=0.8, ls=(0, (4, 2)))
        for offset, (units, style) in zip((-0.22, 0.0, 0.22), _STYLES.items(), strict=True):
            _plot_responses(ax, rows[units], offset, style)
        _label_conditions(ax, conditions, comparison)
        ax.set(xlabel="response (z)", title=kind, ylim=(len(conditions) - 0.5, -0.5))
        figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center")

    responses = "; ".join(_response_text(row) for row in rows["selected"])
    height = 1.1 + 0.34 * len(conditions)
    return Plot(plot, height, f"Response profile: {kind}", f"Selected units: {responses}")


def _add_legend(figure: "matplotlib.figure.Figure") -> None:
    """Add a legend of three entries below a narrow figure."""
    entries = figure.axes[0].get_legend_handles_labels()
    narrow: Any = {"handlelength": 1.3, "columnspacing": 1.1, "handletextpad": 0.5, "borderpad": 0}
    figure.legend(*entries, ncols=3, loc="outside lower center", **narrow)


def _plot_responses(
    ax: "matplotlib.axes.Axes", rows: Sequence[Response], offset: float, style: dict[str, Any]
) -> None:
    """Plot a point and its interval per row; rows without a finite z are left out."""
    finite = [(y + offset, row) for y, row in enumerate(rows) if not isnan(row.z)]
    reach = [[0 if isnan(row.z_low) else row.z - row.z_low for _, row in finite]] * 2
    z, y = [row.z for _, row in finite], [at for at, _ in finite]
    ax.errorbar(z, y, xerr=reach, elinewidth=1.3, clip_on=False, **style)


def _label_conditions(
    ax: "matplotlib.axes.Axes", conditions: Sequence[str], comparison: Comparison
) -> None:
    names = [shorten(c, _MAX_LABEL, placeholder="…")[:_MAX_LABEL] for c in conditions]
    ax.set_yticks(range(len(names)), names)
    compared = (*comparison.positive, *comparison.negative)
    for condition, text in zip(conditions, ax.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if condition in comparison.positive else "normal")
        text.set_fontstyle("normal" if condition in compared else "italic")
    ax.tick_params(axis="y", length=0)


def _response_text(row: Response) -> str:
    z, low, high = (format_number(value) for value in (row.z, row.z_low, row.z_high))
    return f"{row.condition} {z} ({low} to {high})"


def _part(mask: UnitMask, kind: str) -> UnitMask:
    sites = tuple(site for site in mask.layout.sites if site.kind == kind)
    return UnitMask(Layout(sites), mask.selected[mask.layout.of_kind(kind)])
