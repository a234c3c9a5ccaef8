"""``deeploc report``."""

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write RUN/report.html anew from the files of a run."""
    from deeploc import artefacts, report
    from deeploc.runs import RunFolder

    folder = RunFolder(run)
    artefacts.write(folder.report, report.render(run))
    click.echo(str(folder.report))
