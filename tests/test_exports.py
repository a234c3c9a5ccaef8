"""Figures and tables of a run as files, and the report on a machine without torch."""

import csv
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from deeploc.cli import main
from deeploc.experiment import report_run
from deeploc.report.exports import export_run
from deeploc.runs.saved_run import load_run

WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "transformers", "timm"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
from deeploc.cli import main
main(["report", *sys.argv[1:]])
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_needs_no_torch(finished: Path, tmp_path: Path) -> None:
    """In a process in which torch cannot be imported: the same page, figures and tables."""
    folder = Path(shutil.copytree(finished, tmp_path / "elsewhere"))
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    options = ["--figures", "svg", "--tables", "csv,parquet"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, folder, *options], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").read_bytes() == page
    kinds = ("mlp-neurons", "block")
    assert names(folder / "figures") == {
        f"{figure}-{kind}.svg"
        for figure in ("sites", "statistic", "profile", "dose")
        for kind in kinds
    }
    assert {Path(line).name for line in done.stdout.splitlines()} == {
        "report.html",
        *names(folder / "figures"),
        *names(folder / "tables"),
    }


def test_tables_hold_the_numbers_of_the_run(finished: Path) -> None:
    """CSV and Parquet have the same rows: those of the scores, the mask and the verdict."""
    export_run(finished, tables=("csv", "parquet"))
    folder, run = finished / "tables", load_run(finished)
    tables = {path.stem: pyarrow.parquet.read_table(path) for path in folder.glob("*.parquet")}

    for name, table in tables.items():
        with (folder / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [*rows[0]] == table.column_names
        assert len(rows) == table.num_rows
    assert tables["scores"]["value"].to_pylist() == [score.value for score in run.scores]
    assert tables["effects"]["z"].to_pylist() == [effect.z for effect in run.effects]
    assert sum(tables["sites"]["selected"].to_pylist()) == tables["units"].num_rows == len(run.mask)
    assert sum(tables["sites"]["units"].to_pylist()) == run.mask.layout.n_units
    assert tables["verdict"]["question"].to_pylist()[:3] == ["selective", "reliable", "causal"]


def test_units_are_at_their_place(finished: Path) -> None:
    """Site and index of a row lead to the t of the row."""
    export_run(finished, tables=["parquet"])
    run = load_run(finished)
    rows = pyarrow.parquet.read_table(finished / "tables" / "units.parquet").to_pylist()
    found = [run.stat_map.t[run.mask.layout.slices[row["site"]]][row["index"]] for row in rows]

    assert [row["t"] for row in rows] == found
    assert found == sorted(found, reverse=True)


def test_a_figure_is_a_picture_with_a_name(finished: Path) -> None:
    """Every SVG file is a document that begins with its name and description."""
    for path in export_run(finished, figures=["svg"]):
        title, desc = ET.parse(path).getroot()[:2]
        assert title.text
        assert desc.text


def test_a_new_report_takes_old_files_away(finished: Path) -> None:
    """Figures and tables never show another state of the run; what else lies there stays."""
    export_run(finished, figures=["png"], tables=["csv"])
    (finished / "figures" / "mine.png").touch()
    (finished / "report.html").unlink()
    report_run(finished)

    assert names(finished / "figures") == {"mine.png"}
    assert names(finished / "tables") == set()


@pytest.mark.parametrize("option", ["--figures", "--tables"])
def test_an_unknown_format_is_named(finished: Path, option: str) -> None:
    """The message says what there is to choose from, and nothing is written."""
    result = CliRunner().invoke(main, ["report", str(finished), option, "gif"])

    assert result.exit_code == 2
    assert "'gif' is no format; choose among" in result.stderr
    assert not (finished / "figures").exists()
