"""``deeploc import``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _options


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--contrast", default="language-paper", help="The contrast that the mask was localized with."
)
@_options.model
@_options.output
@_options.experiment
@_options.quiet
def command(
    file: Path, contrast: str, model: str, output: Path | None, quiet: bool, **options: Any
) -> None:
    """Make a run from a mask of another tool (.npy).

    FILE contains a (layers x hidden) matrix of 0 and 1 over block outputs.

    The statistics of all units are computed with --contrast, so that every mode and control can be
    evaluated.
    """
    from deeploc.cli._progress import Console
    from deeploc.experiment import localize_run

    loaded, setup, folder = _options.resolve(contrast, model, output, options)
    loaded = loaded.with_changes(["read.sites=block", "ablate.percent=null"])
    overwrite = options["overwrite"]
    run = localize_run(loaded, setup, folder, Console(quiet), imported=file, overwrite=overwrite)
    click.echo(f"imported {len(run.mask):,} units: {folder}")
