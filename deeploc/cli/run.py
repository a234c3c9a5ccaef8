"""``deeploc run``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _options


@click.command("run")
@click.argument("contrast")
@_options.model
@_options.output
@_options.experiment
@_options.ablation
@_options.as_json
@_options.quiet
def command(
    contrast: str, model: str, output: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Localize CONTRAST in a model, ablate what was found, say what broke.

    CONTRAST is a shipped name (`deeploc contrasts`) or a path ending in .yaml. Without -o the run
    goes to runs/CONTRAST-MODEL. A run that was interrupted goes on where it was.
    """
    from deeploc.cli._console import Console, print_effects
    from deeploc.experiment import evaluate_run, localize_run

    described, setup, folder = _options.resolve(contrast, model, output, options)
    watch = Console(quiet)
    effects = evaluate_run(localize_run(described, setup, folder, watch), watch)
    print_effects(effects, folder, as_json)
