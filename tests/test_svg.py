"""SVG elements: reproducible, accessible, self-contained."""

import io
import re
import xml.etree.ElementTree as ET
from typing import Any

import matplotlib
import pytest
from PIL import Image

from deeploc.report.svg import Plot


def plot(figure: Any) -> None:
    ax = figure.subplots()
    ax.plot([0, 1, 2], [1, 3, 2], marker="o", clip_on=True)
    ax.set_title("t & d")


def parsed(svg: str) -> ET.Element:
    # an HTML parser knows the prefix xlink without a declaration, an XML parser does not
    return ET.fromstring(svg.replace("xlink:", ""))


def test_the_same_plot_gives_the_same_bytes_whatever_the_users_settings():
    """A user's matplotlibrc does not change a figure."""
    plain = Plot(plot, 2, "a", "b").inline()
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.fonttype": "path"}):
        changed = Plot(plot, 2, "a", "b").inline()

    assert plain == changed


def test_settings_are_restored():
    """Plotting leaves matplotlib's settings as they were."""
    before = dict(matplotlib.rcParams)
    Plot(plot, 2, "a", "b").inline()

    assert dict(matplotlib.rcParams) == before


def test_an_element_has_a_name_and_a_description():
    """Title and description are escaped and are what the element is labelled by."""
    root = parsed(Plot(plot, 2, "<b> & co", '"</desc>"').inline())
    title, desc = root[0], root[1]

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert (title.text, desc.text) == ("<b> & co", '"</desc>"')


def test_figures_of_one_page_share_no_id_and_refer_only_to_their_own():
    """Ids are prefixed by the title, references follow."""
    one, two = (Plot(plot, 2, title, "").inline() for title in ("one", "two"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, two)]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', one))

    assert used
    assert used <= ids[0]
    assert not ids[0] & ids[1]


def test_an_element_names_no_address_and_no_font():
    """Nothing in an element could be fetched, and its font is the page's."""
    svg = Plot(plot, 2, "one", "").inline()

    assert "http" not in svg
    assert "DejaVu" not in svg


@pytest.mark.parametrize("name", ["语言", "$\\frac{", "<script>", "_hidden", "🙂"])
def test_any_name_can_be_written(name: str):
    """Names that are TeX, markup or in a script that matplotlib's font lacks stay text."""
    svg = Plot(lambda figure: figure.subplots().set_title(name), 2, name, name).inline()

    assert name in [element.text for element in parsed(svg).iter("text")]


def test_a_file_stands_alone():
    """An SVG file has name and description; a PNG has 200 pixels an inch; both are on white."""
    figure = Plot(plot, 2, "a & b", "c", width=3)
    root = ET.fromstring(figure.image("svg"))
    png = Image.open(io.BytesIO(figure.image("png")))

    assert [element.text for element in root][:2] == ["a & b", "c"]
    assert png.size == (600, 400)
    assert png.info["Title"] == "a & b"
    assert png.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("image_format", ["svg", "png"])
def test_the_same_plot_gives_the_same_file(image_format: Any):
    """Files have no date and no random ids."""
    files = {Plot(plot, 2, "a", "b").image(image_format) for _ in range(2)}

    assert len(files) == 1
