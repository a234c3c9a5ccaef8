"""Figures of hand-made maps, profiles and effects."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from math import comb, inf, nan

import numpy as np
import pytest
from matplotlib.figure import Figure

from deeploc.contrast.comparison import Comparison
from deeploc.core.effects import Effect
from deeploc.core.responses import UNITS, Profile, Response
from deeploc.core.units import VECTORS, Layout, Site, StatMap, UnitMask
from deeploc.report.dose_figure import dose_figure, value_range
from deeploc.report.figures import chance_band, profile_figure, sites_figure, t_figure
from deeploc.report.outcomes import outcome_of
from deeploc.report.svg import Plot

LAYOUT = Layout((*(Site(f"h.{i}", "block", 50) for i in range(3)), Site("h.0.mlp", "mlp", 20)))
EFFECT = Effect(
    "perplexity", "perplexity", "sentences", "block", "zero", 5.0, "lower", 17.7, 26.3, (17.8,) * 20
)


def stat_map(t: np.ndarray) -> StatMap:
    return StatMap(LAYOUT, *[t] * len(VECTORS))


def mask_of(*units: int) -> UnitMask:
    selected = np.zeros(LAYOUT.n_units, dtype=bool)
    selected[list(units)] = True
    return UnitMask(LAYOUT, selected)


def texts(plot: Plot) -> list[str]:
    root = ET.fromstring(plot.inline().replace("xlink:", ""))
    return [element.text or "" for element in root.iter("text")]


def test_the_chance_band_is_that_of_sampling_without_replacement():
    """The band equals quantiles of counts enumerated with binomial coefficients."""
    band = chance_band(mask_of(*range(30), 160), "block")
    share = [comb(50, i) * comb(100, 30 - i) / comb(150, 30) for i in range(31)]
    low, high = (int(np.argmax(np.cumsum(share) >= at)) for at in (0.025, 0.975))

    assert 0 < low < 10 < high < 30
    assert [bound.tolist() for bound in band] == [[low] * 3, [high] * 3]


def test_the_sites_figure_names_its_peak():
    """The description counts the units of its kind only; 3 of 50 units are 6 %, 4 of 150 2.67 %."""
    desc = sites_figure(mask_of(0, 60, 61, 62, 151), "block").desc

    assert desc == (
        "4 units are selected; h.1 has the largest share, 6 %, where 2.67 % are expected by chance"
    )


def test_the_input_is_above_the_output():
    """Bars are as long as the share of their site, from above in forward order."""
    figure = Figure()
    sites_figure(mask_of(0, 60, 61, 62), "block").draw(figure)
    (ax,) = figure.axes
    bars = ax.containers[1]

    assert [bar.get_width() for bar in bars] == [2.0, 6.0, 0.0]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [bar.get_y() < other.get_y() for bar, other in pairwise(bars)] == [True, True]


def test_an_empty_selection_can_be_plotted():
    """A kind without a selected unit has its figures too."""
    empty = mask_of()

    assert "0 units are selected" in sites_figure(empty, "mlp").inline()
    assert "none is selected" in t_figure(stat_map(np.zeros(170)), empty, "mlp").inline()


def test_the_threshold_is_the_lowest_selected_t():
    """The t figure names the lowest t among the selected units of its kind."""
    t = np.linspace(-3, 3, LAYOUT.n_units)
    svg = t_figure(stat_map(t), mask_of(140, 149, 169), "block")

    assert f"t ≥ {t[140]:.3g}" in texts(svg)


def test_units_without_a_finite_t_are_not_plotted():
    """A unit whose t is nan or infinite is left out of the histogram."""
    t = np.linspace(-3, 3, LAYOUT.n_units)
    t[[3, 4]] = np.nan, inf

    assert "<desc" in (svg := t_figure(stat_map(t), mask_of(140), "block").inline())
    assert "148 units" in svg


def test_the_dose_figure_has_a_column_per_mode_and_a_name_per_row():
    """Modes are titles, outcomes are labels, doses are ticks."""
    effects = [replace(EFFECT, mode=m, percent=p) for m in ("zero", "mean") for p in (5.0, 1.0)]
    labels = texts(dose_figure(effects, "block", [outcome_of(EFFECT)]))

    assert {"block, zero", "block, mean", "perplexity (sentences)", "lower is better"} <= {*labels}
    assert [text for text in labels if text in ("1", "5")] == ["1", "5"] * 2


def test_the_selection_and_a_dose_have_separate_ticks_and_markers():
    """Both masks at 5 %: two ticks, two entries of the legend; one mask needs neither."""
    selected = replace(EFFECT, mask="selected", ablated=30.0)
    both = texts(dose_figure([EFFECT, selected], "block", [outcome_of(EFFECT)]))
    one = texts(dose_figure([selected], "block", [outcome_of(EFFECT)]))

    assert [text for text in both if text in ("5", "selected")] == ["5", "selected", "5"]
    assert {"selected units", "top units"} <= {*both}
    assert "top units" not in one
    assert "selected" not in one


def test_further_controls_of_one_sort_share_a_marker():
    """Several global random masks are one entry of the legend."""
    others = (("random-global-0", 18.0), ("random-global-1", 18.1), ("bottom", 17.0))
    others += (("magnitude-matched-0", 18.2), ("magnitude-matched-1", 18.3), ("range-0-5", 17.1))
    labels = texts(dose_figure([replace(EFFECT, others=others)], "block", [outcome_of(EFFECT)]))

    assert labels.count("random-global") == 1
    assert labels.count("magnitude-matched") == 1
    assert {"bottom", "range-0-5"} <= {*labels}
    assert not [text for text in labels if re.search(r"(global|matched)-\d", text)]


def test_random_sets_with_massive_units_are_marked():
    """Those that hold one have another marker, and the legend names it; nobody else has it."""
    names = tuple(f"random-{i}" for i in range(20))
    effect = replace(EFFECT, control_names=names)
    outcome = outcome_of(effect)
    marked = dose_figure([effect], "block", [outcome], {"block/5/top/random-3"})
    elsewhere = dose_figure([effect], "block", [outcome], {"block/1/top/random-3"})

    assert "random with massive units" in texts(marked)
    assert elsewhere.inline() == dose_figure([effect], "block", [outcome]).inline()
    assert "random with massive units" not in texts(elsewhere)


@pytest.mark.parametrize(("value", "sign"), [(inf, "∞"), (float("nan"), "not a number")])
def test_a_value_that_is_not_finite_is_named(value: float, sign: str):
    """It stands at the end of the axis with its name, and the axis stays finite."""
    effect = replace(EFFECT, ablated=value)

    assert sign in texts(dose_figure([effect], "block", [outcome_of(EFFECT)]))


def test_a_wide_range_has_a_logarithmic_scale():
    """Plain numbers, not TeX, name the ticks."""
    wide = replace(EFFECT, ablated=26300.0)
    labels = texts(dose_figure([wide], "block", [outcome_of(EFFECT)]))

    assert {"100", "1000", "10000"} <= {*labels}
    assert not [text for text in labels if "math" in text]


@pytest.mark.parametrize("ablated", [200.0, 3e3, 1e5, 2.1e7, 1e12, 1e30])
def test_labels_of_a_logarithmic_scale_do_not_overlap(ablated: float):
    """Two to seven numbers name the ticks, however wide the range is."""
    labels = texts(dose_figure([replace(EFFECT, ablated=ablated)], "block", [outcome_of(EFFECT)]))
    numbers = [text for text in labels if re.fullmatch(r"[\de+]+", text)]
    numbers.remove("5")  # the dose

    assert 2 <= len(numbers) <= 7


def test_equal_controls_lie_beside_each_other():
    """Each of twenty equal values has a place of its own, near the dose."""
    figure = Figure()
    dose_figure([EFFECT], "block", [outcome_of(EFFECT)]).draw(figure)
    cloud = next(line for line in figure.axes[0].lines if line.get_label() == "matched random")
    places = np.asarray(cloud.get_xdata(), dtype=float)

    assert len(np.unique(places)) == 20
    assert np.diff(np.sort(places)).min() > 0.16 / 60
    assert np.abs(places).max() <= 0.08


def test_the_range_includes_every_finite_value():
    """Intact, ablated, controls and further controls count; infinity does not."""
    effect = replace(EFFECT, controls=(12.0, inf), others=(("bottom", 40.0),))

    assert value_range([effect]) == (12.0, 40.0)


def profile_of(**z: float) -> Profile:
    rows = [
        Response("block", c, units, 9, v, v, v, v, v - 0.1, v + 0.1)
        for units in UNITS
        for c, v in z.items()
    ]
    return Profile(True, rows, ())


def test_the_profile_has_a_row_per_condition():
    """In the order of the file; preferred names are bold, those not compared italic."""
    comparison = Comparison(("faces",), ("cars",))
    svg = profile_figure(profile_of(faces=2.0, cars=-1.0, noise=0.0), "block", comparison)
    names = [text for text in texts(svg) if text in ("faces", "cars", "noise")]
    style = {
        n: re.search(rf'<text style="([^"]*)"[^>]*>{n}<', svg.inline()).group(1)
        for n in dict.fromkeys(names)
    }

    assert names == ["faces", "cars", "noise"]
    assert ["700" in style[n] or "bold" in style[n] for n in names] == [True, False, False]
    assert ["italic" in style[n] for n in names] == [False, False, True]
    assert {"selected units", "random units", "all units"} <= {*texts(svg)}
    assert "faces 2.00 (1.90 to 2.10); cars \N{MINUS SIGN}1.00" in svg.desc


@pytest.mark.parametrize("z", [{"faces": nan, "cars": 1.0}, {"faces": nan, "cars": nan}])
def test_a_response_that_is_no_number_is_left_out(z: dict[str, float]):
    """The condition keeps its row; the description states why it is empty."""
    svg = profile_figure(profile_of(**z), "block", Comparison(("faces",), ("cars",)))

    assert "faces" in texts(svg)
    assert "faces not a number" in svg.desc


def test_a_long_name_leaves_room_for_the_points():
    """It is cut off, in the middle of a word where it has no space."""
    svg = profile_figure(profile_of(**{"x" * 80: 1.0}), "block", Comparison((), ()))

    assert max(len(text) for text in texts(svg)) <= 24


def test_importing_plots_does_not_import_matplotlib():
    """A command that makes no figure does not import matplotlib."""
    code = "import sys, deeploc.report.html; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
