"""``deeploc ablate``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _options


@click.command("ablate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", required=True, help="The text to be continued.")
@click.option("--mode", default="zero", help="zero, mean or scale:G")
@click.option("--percent", type=click.FloatRange(0, 100), help="Dose in %; the run's selection.")
@click.option("--sites", metavar="KIND", help="Kind of site, where the run has several.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=40, help="Length.")
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.0, help="0: always the likeliest."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of sampling and the control.")
@_options.hardware
@_options.as_json
def command(run: Path, prompt: str, as_json: bool, **options: Any) -> None:
    """Continue a prompt intact, ablated and under a control.

    Side by side, from one seed; the control holds as many random units in each site.
    """
    from deeploc.cli._console import print_columns, print_json
    from deeploc.demonstrate import Dose, continuations
    from deeploc.experiment import open_run

    opened = open_run(run, _options.hardware_of({**options, "seed": 0}))
    dose = Dose(options["mode"], options["percent"], options["sites"])
    sampling = {name: options[name] for name in ("max_tokens", "temperature", "seed")}
    texts = continuations(opened, prompt, dose, **sampling)
    if as_json:
        print_json({"prompt": prompt, "continuations": texts})
    else:
        print_columns(texts)
