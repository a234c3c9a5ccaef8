"""matplotlib figures as SVG elements of an HTML page, and the style they share."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

SELECTED, CONTROL, INTACT = "#c2410c", "#8b93a1", "#1f2937"
"""Colours of selected or ablated units, of random units, and of the intact model."""

_WIDTH = 4.6
"""Inches (of 96 CSS pixels) a figure is wide: half a desktop page, or a phone."""

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: smaller, selectable, read out by screen readers
    "svg.hashsalt": "deeploc",
    "text.parse_math": False,  # a name may contain a dollar sign
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


def inline_svg(
    plot: Callable[["matplotlib.figure.Figure"], None], height: float, title: str, desc: str
) -> str:
    """Return a figure as an accessible SVG element.

    The same plot gives the same bytes, independent of the user's matplotlib settings.

    Parameters
    ----------
    plot
        Plots into an empty figure.
    height
        Inches (of 96 CSS pixels).
    title, desc
        Name and description of the element for screen readers; plain text, escaped by this
        function. The title must be unique within the page: ids are made from it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # the text is set by the browser, which has glyphs that matplotlib's font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure((_WIDTH, height), layout="constrained", facecolor="none")
        plot(figure)
        text = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        # `savefig` would draw twice, first to place what `layout` places as it draws anyway
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(text, metadata=no_metadata)
    return _inline(text.getvalue(), title, desc)


def use_log_scale(ax: "matplotlib.axes.Axes") -> None:
    """Make the y axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator

    ax.set_yscale("log", nonpositive="clip")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # the default writes TeX
    ax.yaxis.set_minor_formatter(lambda *_: "")


def _inline(svg: str, title: str, desc: str) -> str:
    """Return an SVG document as an element of an HTML page, with a name and a description.

    Ids are made unique to the page, groups lose theirs, the font is left to the page.
    """
    key = re.sub(r"\W+", "-", title.lower())
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(<[^<>]*(?: id="|xlink:href="#|url\(#))', rf"\g<1>{key}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    head, body = svg.split(">", 1)
    size = re.findall(r'(?:width|height|viewBox)="[^"]*"', head)
    words = f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(desc)}</desc>'
    named = f'role="img" aria-labelledby="{key}-t {key}-d"'
    return f"<svg {' '.join(size)} {named}>{words}{body}"
