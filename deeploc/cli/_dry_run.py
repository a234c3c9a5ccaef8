"""What ``deeploc sweep --dry-run`` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deeploc.progress import ProgressReporter
    from deeploc.sweep.cells import Cell
    from deeploc.sweep.forecast import Forecast

_UNKNOWN = "unknown"


def print_forecast(
    cells: "Sequence[Cell]", folder: Path, reporter: "ProgressReporter", as_json: bool
) -> None:
    """Print the cells of a sweep, and what each will need.

    Parameters
    ----------
    cells
        The cells.
    folder
        The folder of the sweep.
    reporter
        Who receives progress.
    as_json
        Whether one JSON document is printed in place of a table.
    """
    from deeploc.sweep.forecast import forecast

    done = _done(folder)
    made = forecast(cells, reporter)
    if as_json:
        from deeploc.cli._console import print_json

        print_json({"sweep": str(folder), "cells": [_json(each, done) for each in made]})
        return
    _print_cells(made, done)
    _print_reasons(made)
    _print_sum([each for each in made if each.cell.setup.command not in done], len(made))


def _done(folder: Path) -> set[str]:
    """Return the commands of the cells that the folder holds already."""
    from deeploc.sweep.record import is_sweep, read_record

    if not is_sweep(folder):
        return set()
    cells = read_record(folder).cells
    return {cell.command for cell in cells if cell.status in ("done", "reused")}


def _json(each: "Forecast", done: set[str]) -> dict[str, Any]:
    passes, cell = each.passes, each.cell
    return {
        "model": cell.model,
        "contrast": cell.name,
        "seed": cell.setup.seed,
        "options": dict(cell.options),
        "folder": str(cell.folder),
        "done": cell.setup.command in done,
        "units": each.units,
        "passes": None if passes is None else [passes.least, passes.most],
        "seconds": None if (spread := _seconds(each)) is None else list(spread),
        "why": each.why,
        "command": cell.setup.command,
    }


def _print_cells(made: "Sequence[Forecast]", done: set[str]) -> None:
    from deeploc.cli._console import print_table

    rows, model = [], ""
    for each in made:
        cell, passes = each.cell, each.passes
        if cell.model != model:
            model = cell.model
            rows.append([model])
        options = [f"{key.rpartition('.')[2]} {value}" for key, value in cell.options.items()]
        name = ", ".join([cell.name, f"seed {cell.setup.seed}", *options])
        units = _UNKNOWN if each.units is None else f"{each.units:,}"
        count = _UNKNOWN if passes is None else _span(f"{passes.least:,}", f"{passes.most:,}")
        left = "done" if cell.setup.command in done else _time(_seconds(each))
        left = "will fail" if each.fails else left
        rows.append([f"  {name}", units, count, left])
    print_table(["cell", "units", "forward passes", "time"], rows, n_numeric=3)


def _print_reasons(made: "Sequence[Forecast]") -> None:
    from deeploc.cli._console import print_paragraph

    reasons: dict[str, list[str]] = {}
    for each in made:
        if each.why:
            reasons.setdefault(f"{each.cell.model}: {each.why}", []).append(each.cell.name)
    if reasons:
        click.echo()
    for reason, names in reasons.items():
        print_paragraph(f"{', '.join(dict.fromkeys(names))} in {reason}")


def _print_sum(left: "Sequence[Forecast]", n_cells: int) -> None:
    from deeploc.cli._console import print_paragraph

    known = [each for each in left if each.passes is not None]
    timed = [spread for each in left if (spread := _seconds(each)) is not None]
    least = sum(each.passes.least for each in known if each.passes)
    most = sum(each.passes.most for each in known if each.passes)
    of = "" if len(known) == len(left) else f" in {len(known)} of them, others unknown"
    cells = f"{n_cells} cells, {len(left)} to run" if len(left) < n_cells else f"{n_cells} cells"
    total = [f"{cells}: {_span(f'{least:,}', f'{most:,}')} forward passes{of}"]
    if timed:
        spread = (sum(low for low, _ in timed), sum(high for _, high in timed))
        of = "" if len(timed) == len(left) else f" for {len(timed)} of them"
        total.append(f"about {_time(spread)}{of}, one after the other")
    click.echo()
    print_paragraph("; ".join(total))
    print_paragraph(
        "A pass is one stimulus or one text. The larger number is with all random controls that a "
        "verdict may draw. Times are those of the model with random weights, here and now."
    )


def _seconds(each: "Forecast") -> tuple[float, float] | None:
    if each.passes is None or each.seconds is None:
        return None
    return each.passes.least * each.seconds, each.passes.most * each.seconds


def _time(spread: tuple[float, float] | None) -> str:
    from deeploc.cli._progress import duration

    return _UNKNOWN if spread is None else _span(*(duration(seconds) for seconds in spread))


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
