"""``deeploc report``."""

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write RUN/report.html anew from the files of a run."""
    from deeploc import atomic
    from deeploc.report import html as report
    from deeploc.runs.folder import RunFolder

    folder = RunFolder(run)
    atomic.write(folder.report, report.render(run))
    click.echo(str(folder.report))
