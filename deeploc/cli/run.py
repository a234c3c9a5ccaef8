"""``deeploc run``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _completion, _options


@click.command("run")
@click.argument("contrast", shell_complete=_completion.contrasts)
@_options.model
@_options.output
@_options.experiment
@_options.ablation
@_options.as_json
@_options.verbose
@_options.quiet
def command(
    contrast: str,
    model: str,
    output: Path | None,
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Localize, ablate, evaluate and report a contrast in a model.

    CONTRAST is a shipped name (`deeploc contrasts`) or a path ending in .yaml. Without -o the run
    folder is runs/CONTRAST-MODEL, followed by the other options that decide the numbers. An
    interrupted run continues where it stopped; a folder with another run is refused.
    """
    from deeploc.cli._progress import Console
    from deeploc.cli._results import print_results
    from deeploc.experiment import run_all

    described, setup, folder = _options.resolve(contrast, model, output, options)
    overwrite = options["overwrite"]
    run = run_all(described, setup, folder, Console(quiet), overwrite=overwrite)
    print_results(run.folder, as_json, verbose=verbose, profile=True)
