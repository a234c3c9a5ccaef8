"""Kinds of site so small that a rule selects none of their units: one line, and no nan."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.analysis.nothing_selected import nothing_selected, without_units
from deeploc.cli import main
from deeploc.contrast.selecting import Select
from deeploc.core.selection import count_of
from deeploc.core.units import Layout, Site, UnitMask


@pytest.mark.parametrize("n_units", [1, 3, 7, 16, 37, 64, 99])
@pytest.mark.parametrize("percent", [0.5, 1])
def test_the_percentage_that_is_named_selects_a_unit(n_units: int, percent: float) -> None:
    """What the line says to write selects at least one unit, and little more."""
    layout = Layout((Site("a", "heads", n_units), Site("b", "block", 1000)))
    found = without_units(layout, Select(percent=percent))
    assert list(found) == ["heads"]
    named = float(found["heads"].rpartition("select.percent=")[2].rstrip("`"))
    assert count_of(named, n_units) == 1
    assert f"{percent:g} % of {n_units} heads units is less than one unit" in found["heads"]


def test_rules_say_why_they_select_nothing() -> None:
    """A percentage, a number of units and a false discovery rate."""
    layout = Layout((Site("a", "heads", 4), Site("b", "block", 1000)))
    nothing = UnitMask(layout, np.zeros(1004, dtype=bool))
    assert not without_units(layout, Select(k=1))
    assert set(nothing_selected(nothing, Select(percent=1))) == {"heads", "block"}
    assert "q ≤ 0.05" in nothing_selected(nothing, Select(fdr=0.05))["block"]
    some = UnitMask(layout, np.arange(1004) > 1000)
    assert list(nothing_selected(some, Select(percent=1))) == ["heads"]


def test_no_table_holds_nan(tmp_path: Path, tiny_lm: Path, contrast_file: Path) -> None:
    """The kind is left out of the tables, and a line says what to write, in text and HTML."""
    run = tmp_path / "run"
    arguments = ["run", str(contrast_file), "-m", f"hf:{tiny_lm}", "-o", str(run)]
    arguments += ["--sites", "heads", "--sites", "mlp-neurons", "--set", "select.percent=2"]
    arguments += ["--mode", "zero", "--percent", "2", "--controls", "2", "-v"]
    result = CliRunner().invoke(main, [*arguments, "--set", "verdict.untrained=false"])
    assert result.exit_code == 0, result.output
    printed = " ".join(result.output.split())
    page = " ".join((run / "report.html").read_text(encoding="utf-8").split())
    for text in (printed, page.replace("&#39;", "'")):
        assert "heads units is less than one unit; write `--set 'select={k: 1}'`" in text
        assert not re.search(r"\bnan\b", text)
