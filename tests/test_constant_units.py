"""Units that do not vary over the stimuli: their statistic is 0 / 0, and none is selected."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.analysis.comparing import of_responses
from deeploc.analysis.nothing_selected import (
    fewer,
    nothing_selected,
    too_few_vary,
    without_variance,
)
from deeploc.analysis.select_units import select_units
from deeploc.cli import main
from deeploc.contrast.model import Contrast, load
from deeploc.contrast.selecting import Select
from deeploc.core.selectable import n_selectable
from deeploc.core.selection import between_percentiles, bottom_k, top_k, top_percent
from deeploc.core.units import Layout, Site, StatMap

from .conftest import REAL, UNREAL

STATISTICS = ("welch", "paired", "mann-whitney", "d-prime", "selectivity-index")
N = 12
CONSTANT = np.array([0.1, -3.7, 0.0, 1e-30, 12345.678])

CONTRAST = """\
name: ab
title: A > B
modality: text
source: made up
conditions:
  a: {texts: [%s]}
  b: {texts: [%s]}
contrast: a > b
split: none
statistic: %s
"""


def contrast_of(folder: Path, statistic: str = "welch") -> Contrast:
    """Return a contrast of two conditions of N texts."""
    file = folder / "ab.yaml"
    names = (", ".join(f"{side}{i}" for i in range(N)) for side in "ab")
    file.write_text(CONTRAST % (*names, statistic))
    return load(str(file))


def stat_map_of(contrast: Contrast, responses: np.ndarray, kinds: tuple[int, ...]) -> StatMap:
    """Return the statistics of N + N responses at kinds of so many units."""
    rows = {"a": np.arange(N), "b": N + np.arange(N)}
    computed = of_responses(contrast, responses, rows)
    layout = Layout(tuple(Site(str(i), f"kind{i}", n) for i, n in enumerate(kinds)))
    means = {name: responses[r].mean(axis=0) for name, r in rows.items()}
    vectors = {**computed._asdict(), "q": computed.p, "magnitude": np.abs(responses).mean(axis=0)}
    return StatMap(layout, baseline=responses.mean(axis=0), means=means, **vectors)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_no_statistic_selects_a_unit_that_does_not_vary(
    statistic: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """By number, percentage, percentiles and from either end; the others are as without them."""
    contrast = contrast_of(tmp_path, statistic)
    varying = rng.normal(size=(2 * N, 3)) - np.arange(2 * N)[:, None] % 2
    responses = np.hstack([varying, np.broadcast_to(CONSTANT, (2 * N, 5))])
    stat_map = stat_map_of(contrast, responses, (8,))

    np.testing.assert_array_equal(stat_map.constant, np.arange(8) >= 3)
    assert n_selectable(stat_map) == 3
    for select in (
        Select(k=5),
        Select(percent=100),
        Select(percent=60, tail="bottom"),
        Select(percentile=(0, 100)),
        Select(percentile=(0, 100), percent=60),
        Select(fdr=0.99),
    ):
        assert not select_units(stat_map, select).selected[3:].any()
    assert select_units(stat_map, Select(k=5)).selected[:3].all()
    assert select_units(stat_map, Select(percentile=(0, 100), percent=60)).selected[:3].all()
    for rule in (top_k, bottom_k):
        with pytest.raises(ValueError, match=r"number of units with a score \(3\), got 4"):
            rule(stat_map, 4)
    with pytest.raises(ValueError, match=r"got 9"):
        select_units(stat_map, Select(k=9))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_units_that_vary_are_selected_as_before(
    statistic: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """No unit that varies counts as constant, however small; percentiles count all units."""
    contrast = contrast_of(tmp_path, statistic)
    scales = 10.0 ** rng.integers(-30, 30, size=60)
    responses = rng.normal(size=(2 * N, 60)) * scales
    responses[:, ::7] = 1.5
    stat_map = stat_map_of(contrast, responses, (60,))

    np.testing.assert_array_equal(stat_map.constant, np.arange(60) % 7 == 0)
    low, high = np.percentile(stat_map.t, [60, 90])
    inside = between_percentiles(stat_map, 60, 90)
    np.testing.assert_array_equal(
        inside, (stat_map.t >= low) & (stat_map.t <= high) & ~stat_map.constant
    )
    order = np.argsort(-stat_map.t, kind="stable")
    np.testing.assert_array_equal(
        np.flatnonzero(top_percent(stat_map, 10).selected), np.sort(order[:6])
    )


def test_a_selectivity_index_of_two_constants_is_one(tmp_path: Path) -> None:
    """Constant within each condition, with other means: the index is defined, t is not."""
    step = np.repeat([2.0, 1.0], N)[:, None]
    index = stat_map_of(contrast_of(tmp_path, "selectivity-index"), step, (1,))
    welch = stat_map_of(contrast_of(tmp_path), step, (1,))
    ranks = stat_map_of(contrast_of(tmp_path, "mann-whitney"), step, (1,))

    assert not index.constant.any()
    assert welch.constant.all()
    assert not ranks.constant.any()
    (why,) = without_variance(welch, "mean").values()
    assert "no unit of kind0 changes within a condition" in why


def test_what_does_not_vary_is_told_by_kind(tmp_path: Path, rng: np.random.Generator) -> None:
    """None at one kind, fewer than asked for at another; a dose says the same."""
    varying = rng.normal(size=(2 * N, 4)) + np.repeat([1.0, 0.0], N)[:, None]
    constant = np.broadcast_to(CONSTANT, (2 * N, 5))
    stat_map = stat_map_of(contrast_of(tmp_path), np.hstack([constant, varying, constant]), (5, 9))
    mask = select_units(stat_map, Select(k=5))

    assert [len(mask.of_kind(kind)) for kind in mask.layout.kinds] == [0, 4]
    constant_kinds = without_variance(stat_map, "last")
    assert list(constant_kinds) == ["kind0"]
    told = nothing_selected(mask, Select(k=5), constant_kinds)["kind0"]
    assert told.startswith("no unit of kind0 changes over these stimuli, so that none is selected")
    assert "--set read.pool=mean" in told
    assert too_few_vary(stat_map, mask, Select(k=5)) == [
        "4 of 9 kind1 units are selected and not 5: the others do not change over these stimuli"
    ]
    assert too_few_vary(stat_map, mask, Select(k=4)) == []
    assert fewer(stat_map, "kind0", 20, 1, 0) == (
        "no kind0 unit changes over these stimuli: 20 % not ablated"
    )
    assert fewer(stat_map, "kind1", 60, 5, 4) == (
        "60 % of 9 kind1 units are 5, of which 1 have no t (constant, or non-finite activation): "
        "the other 4 are ablated"
    )
    assert fewer(stat_map, "kind1", 40, 3, 3) is None


def test_a_run_that_reads_one_token_says_so(tmp_path: Path, tiny_lm: Path) -> None:
    """Every text ends alike and the embedding is read there: no network, and the reason."""
    file = tmp_path / "ends.yaml"
    texts = (
        ", ".join(f"{words[i % 6]} {words[i // 6 - 2]} {REAL[0]}" for i in range(N))
        for words in (REAL, UNREAL)
    )
    file.write_text(CONTRAST % (*texts, "welch"))
    run = tmp_path / "run"
    arguments = [str(file), "-m", f"hf:{tiny_lm}", "-o", str(run), "--set", "select={k: 2}"]
    arguments += ["--sites", "embedding", "--sites", "block", "--set", "read.pool=last"]
    arguments += ["--controls", "2", "--task", "text-probe", "--set", "verdict.untrained=false"]
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 0, result.output
    printed = " ".join(result.output.split())

    assert (
        "No network: no unit of embedding changes over these stimuli: pool last reads the same "
        "token in all of them, so that none is selected" in printed
    )
    assert not re.search(r"\bnan\b|not finite", printed)
    owners = {row.split(",")[0] for row in (run / "units.csv").read_text().splitlines()[1:]}
    assert owners, printed
    assert not any("wte" in owner or "embed" in owner for owner in owners)
