"""``deeploc report``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _completion, _options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@_options.exports
def command(run: Path, figures: Any, tables: Any) -> None:
    """Write RUN/report.html again from the files of a run."""
    from deeploc.experiment import report_run
    from deeploc.report.exports import export_run

    click.echo(str(report_run(run)))
    for path in export_run(run, figures, tables):
        click.echo(str(path))
