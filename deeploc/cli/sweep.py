"""``deeploc sweep``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.sweep.file import Sweep
    from deeploc.sweep.record import SweepRecord
    from deeploc.sweep.sweeping import Engine
    from deeploc.sweep.table import Row


class StimuliOf(click.ParamType[tuple[str, Path]]):
    """A folder, or a contrast and the folder of its stimuli."""

    name = "[CONTRAST=]DIR"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Return the contrast, empty for all, and the folder."""
        if isinstance(value, tuple):
            return value
        contrast, _, folder = value.rpartition("=")
        path = Path(folder)
        if not path.is_dir():
            self.fail(f"there is no folder {folder!r}", param, ctx)
        return contrast, path.absolute()


@click.command("sweep")
@click.argument("file", shell_complete=_completion.sweeps)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder of the sweep.  [default: runs/NAME]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="Processes on this machine, or a cluster of Ray.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="At most so many models at once, with --engine local.  [default: as memory, processors "
    "and GPUs allow]",
)
@click.option("--dry-run", is_flag=True, help="Print cells, units and forward passes; run nothing.")
@click.option(
    "--stimuli",
    type=StimuliOf(),
    multiple=True,
    help="Read the stimuli of a contrast, or of all, from this folder; repeatable.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the sweep file, e.g. --set limit=20; repeatable.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace runs with other inputs in the folders of cells."
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the Python code of the checkpoints for which FILE asks for it.",
)
@_options.plugins
@_options.as_json
@_options.quiet
def command(
    file: str,
    output: Path | None,
    *,
    engine: str,
    jobs: int | None,
    dry_run: bool,
    stimuli: tuple[tuple[str, Path], ...],
    overrides: tuple[str, ...],
    overwrite: bool,
    trust_remote_code: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run models x contrasts x seeds x options, and show all verdicts.

    FILE is a sweep file, or the name of a shipped sweep. Each cell is an ordinary run folder in
    DIR. The same command continues: cells that are complete and current are reused. A cell that
    fails is one line and stops no other; the exit code is then 1.
    """
    from deeploc.cli._progress import Console
    from deeploc.sweep.cells import cells_of
    from deeploc.sweep.file import load, refuse_remote_code
    from deeploc.sweep.sweeping import run_sweep

    sweep = load(file, overrides)
    if not trust_remote_code:
        refuse_remote_code(sweep)
    folder = output or Path("runs") / sweep.name
    cells = cells_of(sweep, folder, dict(stimuli))
    if dry_run:
        from deeploc.cli._dry_run import print_forecast

        print_forecast(cells, folder, Console(quiet), as_json)
        return
    chosen = _engine(engine, jobs, sweep)
    record = run_sweep(sweep, cells, folder, chosen, Console(quiet), overwrite=overwrite)
    _print(record, as_json)
    if record.count("failed"):
        raise SystemExit(1)


def _engine(name: str, jobs: int | None, sweep: "Sweep") -> "Engine":
    if name == "ray":
        from deeploc.sweep.ray import RayEngine, require_ray

        if jobs is not None:
            raise click.UsageError("--jobs is for --engine local; Ray starts what `resources` fit")
        require_ray("--engine ray")  # before anything is written
        return RayEngine(sweep.resources, sweep.retries)
    from deeploc.sweep.forecast import memory_of
    from deeploc.sweep.local import LocalEngine

    return LocalEngine(jobs, sweep.retries, memory_of)


def _print(record: "SweepRecord", as_json: bool) -> None:
    from deeploc.cli._console import print_json, print_paragraph
    from deeploc.sweep.table import rows_of

    rows = rows_of(record)
    failed = [cell for cell in record.cells if cell.status == "failed"]
    if as_json:
        from deeploc.sweep.table import to_json

        print_json({"sweep": str(record.folder), "cells": to_json(record, rows)})
        return
    _print_verdicts(record, rows)
    for cell in failed:
        from deeploc.sweep.summary import title_of

        print_paragraph(f"failed: {title_of(cell)}: {cell.error}")
    click.echo(f"\nevery answer: {record.folder / 'sweep.csv'}")
    click.echo(f"page:         {record.folder / 'sweep.html'}")
    if failed:
        click.echo(f"{len(failed)} of {len(record.cells)} cells failed", err=True)


def _print_verdicts(record: "SweepRecord", rows: "list[Row]") -> None:
    from deeploc.cli._console import print_table
    from deeploc.core.verdict import CHAIN
    from deeploc.sweep.summary import options_of

    several = len({cell.seed for cell in record.cells}) > 1
    lines, model = [], ""
    for row in rows:
        if row.network is None:
            continue
        if row.cell.model != model:
            model = row.cell.model
            lines.append([model])
        about = [row.cell.contrast, *([f"seed {row.cell.seed}"] if several else [])]
        name = ", ".join([*about, *options_of(row.cell)])
        replies = [row.reply(question) for question in CHAIN]
        answers = [reply.answer if reply else "\N{EN DASH}" for reply in replies]
        lines.append([f"  {name}", row.sites, *answers])
    if lines:
        print_table(["", "sites", *CHAIN], lines)
