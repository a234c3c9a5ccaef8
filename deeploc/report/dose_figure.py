"""The figure of the effects: value of each outcome against dose, beside the controls.

It is one plot per kind of site. matplotlib is imported when the first one is drawn, not with this
module.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from math import isfinite
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from deeploc.core.effects import Effect
from deeploc.core.outcomes import Outcome
from deeploc.report.outcomes import masks_differ, outcome_of, unmatched_controls
from deeploc.report.svg import CONTROL, INTACT, SELECTED, Plot, use_log_scale
from deeploc.report.text import format_number, outcome_label

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_UNMATCHED = (
    ("#0369a1", "v"),
    ("#15803d", "s"),
    ("#a21caf", "D"),
    ("#854d0e", "P"),
    ("#4338ca", "X"),
)
"""Colours and markers of unmatched controls."""

_RANDOM = {"color": CONTROL, "marker": "o", "alpha": 0.75, "label": "matched random"}
_HOLDING = {
    "color": "#374151",
    "marker": "x",
    "mew": 1.0,
    "ms": 4.0,
    "label": "random with massive units",
}

_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, modulo 1, are spread evenly however many there are."""

_Dose = tuple[float, str]
"""Percentage of the units of a kind, and the mask: ``selected`` or ``top``."""


def dose_figure(
    effects: Sequence[Effect],
    sites: str,
    outcomes: Sequence[Outcome],
    holding: Collection[str] = (),
) -> Plot:
    """Return value against dose: a row of panels per outcome, a column per mode.

    Doses stand side by side in order of size; where both the contrast's own selection and doses
    of top units were ablated, ticks name the selection.

    Parameters
    ----------
    effects
        Effects of one run.
    sites
        The kind of site; effects at others are left out.
    outcomes
        What is plotted, from above.
    holding
        Which controls hold massive units, as ``SITES/PERCENT/MASK/CONTROL``; these are marked.
    """
    plotted = [e for e in effects if e.sites == sites and outcome_of(e) in outcomes]
    modes = list(dict.fromkeys(effect.mode for effect in plotted))

    def plot(figure: "matplotlib.figure.Figure") -> None:
        axes = figure.subplots(len(outcomes), len(modes), squeeze=False, sharey="row", sharex=True)
        for row, outcome in zip(axes, outcomes, strict=True):
            span = value_range([e for e in plotted if outcome_of(e) == outcome])
            for ax, mode in zip(row, modes, strict=True):
                panel = [e for e in plotted if (outcome_of(e), e.mode) == (outcome, mode)]
                _plot_panel(ax, panel, _doses(plotted), span, holding)
            row[0].set_ylabel(_row_label(outcome, plotted), fontsize=7.5)
        for ax, mode in zip(axes[0], modes, strict=True):
            ax.set_title(f"{sites}, {mode}")
        figure.supxlabel("units ablated (% of this kind)", fontsize=8)
        _add_legend(figure)

    height = 0.85 + 1.35 * len(outcomes)
    names = "; ".join(outcome_label(*outcome) for outcome in outcomes)
    return Plot(plot, height, f"Dose and effect: {sites}", f"Panels from above: {names}")


def value_range(effects: Iterable[Effect]) -> tuple[float, float]:
    """Return the smallest and largest finite value of some effects, controls included."""
    values = (
        v for e in effects for v in (e.intact, e.ablated, *e.controls, *(x for _, x in e.others))
    )
    finite = [v for v in values if isfinite(v)] or [0.0]
    return min(finite), max(finite)


def _doses(effects: Sequence[Effect]) -> dict[_Dose, str]:
    """Return the doses in order of size, each with the text at its tick."""
    named = masks_differ(effects)
    doses = sorted({(effect.percent, effect.mask) for effect in effects})
    return {
        (percent, mask): f"{percent:.3g}" + ("\nselected" if named and mask == "selected" else "")
        for percent, mask in doses
    }


def _plot_panel(
    ax: "matplotlib.axes.Axes",
    panel: Sequence[Effect],
    doses: dict[_Dose, str],
    span: tuple[float, float],
    holding: Collection[str],
) -> None:
    """Plot the effects on one outcome in one mode."""
    _set_scale(ax, *span)
    ax.set_xlim(-0.5, len(doses) - 0.5)
    ax.set_xticks(range(len(doses)), list(doses.values()))
    if panel:
        intact = [panel[0].intact] * 2
        _plot_values(ax, [-0.5, len(doses) - 0.5], intact, color=INTACT, ls="--", label="intact")
    for effect in panel:
        x = list(doses).index((effect.percent, effect.mask))
        for offset, values, style in _control_values(effect, holding):
            _plot_values(ax, x + offset + _spread(len(values)), values, ls="none", **style)
    for mask in dict.fromkeys(effect.mask for effect in panel):
        points = sorted((e for e in panel if e.mask == mask), key=lambda effect: effect.percent)
        places = [list(doses).index((e.percent, mask)) - 0.2 for e in points]
        style = {"color": SELECTED, "marker": "D" if mask == "selected" else "o", "ms": 5}
        _plot_values(ax, places, [e.ablated for e in points], label=f"{mask} units", **style)


def _control_values(
    effect: Effect, holding: Collection[str]
) -> Iterator[tuple[float, Sequence[float], dict[str, Any]]]:
    """Yield (offset from the dose, values, style) of each kind of control."""
    place = f"{effect.sites}/{effect.percent:g}/{effect.mask}"
    names = effect.control_names or [""] * len(effect.controls)
    marked = [f"{place}/{name}" in holding for name in names]
    for is_marked, style in ((False, _RANDOM), (True, _HOLDING)):
        values = [v for v, own in zip(effect.controls, marked, strict=True) if own == is_marked]
        if values:  # matplotlib cannot lay out a row of which a part is empty
            yield 0.0, values, style
    for n, (name, values) in enumerate(unmatched_controls(effect).items()):
        colour, marker = _UNMATCHED[n % len(_UNMATCHED)]
        yield 0.2, values, {"color": colour, "marker": marker, "label": name}


def _plot_values(
    ax: "matplotlib.axes.Axes",
    x: Sequence[float] | np.ndarray,
    values: Sequence[float],
    **style: Any,
) -> None:
    """Plot values; one that is not finite stands at the upper end of the axis, with its name."""
    ceiling = ax.get_ylim()[1]
    y = [v if isfinite(v) else ceiling for v in values]
    ax.plot(x, y, **{"ms": 3.2, "mew": 0, "lw": 1.1, "clip_on": False} | style)
    for at, value in zip(x, values, strict=True):
        if not isfinite(value):
            name = format_number(value)
            ax.annotate(name, (at, ceiling), (0, 2), textcoords="offset points")


def _spread(n: int) -> np.ndarray:
    """Return small distances from a dose, so that equal values lie beside each other."""
    steps = np.arange(n) * _GOLDEN % 1 - 0.5 if n > 1 else np.zeros(n)
    return 0.16 * steps


def _set_scale(ax: "matplotlib.axes.Axes", low: float, high: float) -> None:
    """Set the y axis from the smallest to the largest value; a wide range is logarithmic."""
    if low > 0 and high / low > 8:
        margin = (high / low) ** 0.12
        use_log_scale(ax, low / margin, high * margin)
    else:
        margin = (high - low or abs(high) or 1.0) * 0.12
        ax.set_ylim(low - margin, high + margin)


def _add_legend(figure: "matplotlib.figure.Figure") -> None:
    """Add one legend for all panels, each label once."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=3)


def _row_label(outcome: Outcome, effects: Sequence[Effect]) -> str:
    better = next((e.better for e in effects if outcome_of(e)[:2] == outcome[:2]), "")
    lines = [shorten(line, 26, placeholder="…") for line in wrap(outcome_label(*outcome), 22)]
    return "\n".join([*lines[:2], f"{better} is better"])
