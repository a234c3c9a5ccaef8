"""matplotlib figures as SVG elements of an HTML page or as files, and the style they share."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

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
    "axes.facecolor": "none",
    "axes.edgecolor": "#6b7280",
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


ImageFormat = Literal["svg", "png"]
"""A format of figures as files."""


@dataclass(frozen=True)
class Plot:
    """One figure, drawn when it is asked for.

    The same plot gives the same bytes, independent of the user's matplotlib settings.

    Parameters
    ----------
    draw
        Plots into an empty figure.
    height
        Inches (of 96 CSS pixels).
    title, desc
        Name and description for screen readers; plain text, escaped where it must be. The title
        must be unique within a page: ids are made from it.
    width
        Inches.
    """

    draw: Callable[["matplotlib.figure.Figure"], None]
    height: float
    title: str
    desc: str
    width: float = _WIDTH

    def inline(self) -> str:
        """Return it as an accessible SVG element of an HTML page."""
        with _styled():
            return _inline(self._svg("none"), self.title, self.desc)

    def image(self, image_format: ImageFormat) -> bytes:
        """Return it as a file that stands alone, on white.

        Parameters
        ----------
        image_format
            ``svg``, or ``png`` with 200 pixels an inch.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with _styled():
            if image_format == "svg":
                return _named(self._svg("white"), self.title, self.desc).encode()
            figure = self._figure("white")
            figure.set_dpi(200)
            png = io.BytesIO()
            canvas: Any = FigureCanvasAgg(figure)
            words = {"Title": self.title, "Description": self.desc, "Software": None}
            canvas.print_png(png, metadata=words)
            return png.getvalue()

    def _figure(self, background: str) -> "matplotlib.figure.Figure":
        from matplotlib.figure import Figure

        figure = Figure((self.width, self.height), layout="constrained", facecolor=background)
        self.draw(figure)
        return figure

    def _svg(self, background: str) -> str:
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        text = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        # `savefig` would draw twice, first to place what `layout` places as it draws anyway
        canvas: Any = FigureCanvasSVG(self._figure(background))
        canvas.print_svg(text, metadata=no_metadata)
        return text.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    """Put the style of these figures in force, and only this."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # the text is set by the browser, which has glyphs that matplotlib's font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def use_log_scale(ax: "matplotlib.axes.Axes", low: float, high: float) -> None:
    """Make the y axis logarithmic from ``low`` to ``high``, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator

    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(low, high)
    # over many decades `numticks` leaves decades out, but never their parts
    parts = (1, 2, 5) if high < 200 * low else (1,)
    ax.yaxis.set_major_locator(LogLocator(subs=parts, numticks=6))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # the default writes TeX
    ax.yaxis.set_minor_formatter(lambda *_: "")


def _named(svg: str, title: str, desc: str) -> str:
    """Return an SVG document with a name and a description."""
    head, start, rest = svg.partition("<svg ")
    attributes, end, body = rest.partition(">")
    words = f"<title>{escape(title)}</title><desc>{escape(desc)}</desc>"
    return f'{head}{start}role="img" {attributes}{end}{words}{body}'


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
