"""From a function that draws a figure to an SVG element that stands inside an HTML page."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.figure

_WIDTH = 4.6
"""Inches (of 96 CSS pixels) a figure is wide: half a desktop page, or a phone."""

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: smaller, selectable, read out by screen readers
    "svg.hashsalt": "deeploc",
    "text.parse_math": False,  # a name may hold a dollar sign
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
    draw: Callable[["matplotlib.figure.Figure"], None], height: float, title: str, desc: str
) -> str:
    """Return what ``draw`` draws as an accessible SVG element, ``height`` inches high.

    The same drawing gives the same bytes, whatever the user's own matplotlib settings. The
    element's name is ``title``, its description ``desc``; both are escaped here.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # the text is set by the browser, which has glyphs that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure((_WIDTH, height), layout="constrained", facecolor="none")
        draw(figure)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing)
    return _inline(text.getvalue(), title, desc)


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
