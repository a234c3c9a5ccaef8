"""``deeploc report``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _completion, _options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@_options.exports
def command(run: Path, figures: Any, tables: Any) -> None:
    """Write RUN/report.html again from the files of a run.

    RUN may be the folder of a sweep: then sweep.csv and sweep.html are written again.
    """
    from deeploc.experiment import report_run
    from deeploc.report.exports import export_run
    from deeploc.sweep.record import is_sweep

    if is_sweep(run):
        _report_sweep(run, given=bool(figures or tables))
        return

    click.echo(str(report_run(run)))
    for path in export_run(run, figures, tables):
        click.echo(str(path))


def _report_sweep(folder: Path, *, given: bool) -> None:
    from deeploc.sweep.sweeping import report_sweep

    if given:
        raise click.UsageError("--figures and --tables are of one run; name a run of the sweep")
    report_sweep(folder)
    for name in ("sweep.csv", "sweep.html"):
        click.echo(str(folder / name))
