"""``deeploc report``."""

from pathlib import Path

import click

from deeploc.cli import _completion


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
def command(run: Path) -> None:
    """Write RUN/report.html again from the files of a run."""
    from deeploc.experiment import report_run

    click.echo(str(report_run(run)))
