"""``deeploc evaluate``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _completion, _options


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@_options.hardware
@_options.ablation
@_options.as_json
@_options.verbose
@_options.quiet
def command(run: Path, as_json: bool, verbose: bool, quiet: bool, **options: Any) -> None:
    """Measure tasks under ablation and under controls.

    New scores are added to those of the run. Without options the tasks, doses, modes and controls
    are those of the contrast.
    """
    from deeploc.cli._progress import Console
    from deeploc.cli._results import print_results
    from deeploc.cli._tasks import with_tasks
    from deeploc.experiment import evaluate_run, open_run

    opened = open_run(run, _options.hardware_of(options), Console(quiet))
    changes = {name: options[name] for name in ("percent", "mode", "controls")}
    contrast = opened.contrast.with_changes(_options.overrides_of(**changes))
    evaluate_run(opened, with_tasks(contrast, options["tasks"]))
    print_results(opened.folder, as_json, verbose=verbose)
