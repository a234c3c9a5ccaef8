"""The figure of the response profile: one accessible, self-contained SVG string.

Importing this module does not import matplotlib: drawing the first figure does.
"""

from collections.abc import Sequence
from math import isnan
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from deeploc.contrast.comparison import Comparison
from deeploc.core.responses import Profile, Response, Units
from deeploc.report.figures import CONTROL, INTACT, TOP
from deeploc.report.svg import inline_svg
from deeploc.report.text import number

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_LABEL_LENGTH = 24

_LOOKS: dict[Units, dict[str, Any]] = {
    "selected": {"color": TOP, "fmt": "o", "ms": 5, "label": "selected units"},
    "random": {"color": CONTROL, "fmt": "s", "ms": 4, "label": "random units"},
    "all": {"color": INTACT, "fmt": "D", "ms": 3.6, "mfc": "white", "label": "all units"},
}


def profile_figure(profile: Profile, kind: str, comparison: Comparison) -> str:
    """Return the mean z of each group of units with its 95 % interval, a row per condition.

    The names of the preferred conditions are bold, of those that are not compared italic.
    """
    rows = {units: profile.of(kind, units) for units in _LOOKS}
    conditions = [row.condition for row in rows["selected"]]

    def draw(figure: "matplotlib.figure.Figure") -> None:
        ax = figure.subplots()
        for edge in range(1, len(conditions)):
            ax.axhline(edge - 0.5, color=CONTROL, lw=0.5, alpha=0.35)
        ax.axvline(0, color=INTACT, lw=0.8, ls=(0, (4, 2)))
        for place, (units, look) in zip((-0.22, 0.0, 0.22), _LOOKS.items(), strict=True):
            _draw_points(ax, rows[units], place, look)
        names = [shorten(c, _LABEL_LENGTH, placeholder="…")[:_LABEL_LENGTH] for c in conditions]
        ax.set_yticks(range(len(names)), names)
        for condition, text in zip(conditions, ax.get_yticklabels(), strict=True):
            text.set_fontweight("bold" if condition in comparison.positive else "normal")
            compared = (*comparison.positive, *comparison.negative)
            text.set_fontstyle("normal" if condition in compared else "italic")
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel="response (z)", title=kind, ylim=(len(names) - 0.5, -0.5))
        figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center")

    told = "; ".join(_told(row) for row in rows["selected"])
    height = 1.1 + 0.34 * len(conditions)
    return inline_svg(draw, height, f"Response profile: {kind}", f"Selected units: {told}")


def _draw_points(
    ax: "matplotlib.axes.Axes", rows: Sequence[Response], place: float, look: dict[str, Any]
) -> None:
    """Draw a point and its interval per row; what is no number is left out."""
    whole = [(at + place, row) for at, row in enumerate(rows) if not isnan(row.z)]
    reach = [[0 if isnan(row.z_low) else row.z - row.z_low for _, row in whole]] * 2
    z, y = [row.z for _, row in whole], [at for at, _ in whole]
    ax.errorbar(z, y, xerr=reach, elinewidth=1.3, clip_on=False, **look)


def _told(row: Response) -> str:
    return f"{row.condition} {number(row.z)} ({number(row.z_low)} to {number(row.z_high)})"
