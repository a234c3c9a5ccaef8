"""``deeploc check``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _options


@click.command("check")
@click.argument("contrast", metavar="FILE.yaml")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the sample.")
@click.option("--limit", type=click.IntRange(min=2), help="Most stimuli per condition.")
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Read the stimuli from this folder.",
)
@_options.strict
def command(contrast: str, **options: Any) -> None:
    """Validate a contrast file.

    Reads its stimuli and the items of its tasks too, and shows one of each condition.
    """
    from deeploc.cli._console import Console, print_table
    from deeploc.contrast import load
    from deeploc.experiment import make_tasks, stimuli_of
    from deeploc.manifest import Setup

    described = load(contrast)
    model = _options.hardware_of({}, seed=options["seed"])
    setup = Setup("", model, options["limit"], options["stimuli"], strict=options["strict"])
    watch = Console()
    drawn = stimuli_of(described, setup, watch)
    tasks = make_tasks(described, setup, drawn.halves)
    rows = [
        [name, str(len(stimuli)), str(len(drawn.held_out[name])), _short(stimuli[0].title)]
        for name, stimuli in drawn.localizing.items()
    ]
    print_table(["condition", "localize", "evaluate", "for example"], rows)
    drawn.tell(watch)
    click.echo(f"\n{contrast}: valid; tasks: {', '.join(task.name for task in tasks) or 'none'}")


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
