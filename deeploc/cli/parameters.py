"""``deeploc parameters``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.runs.folder import RunFolder

_TENSORS = 10
"""How many tensors are printed; parameters.csv has all."""


@click.command("parameters")
@click.argument(
    "run", type=click.Path(path_type=Path), shell_complete=_completion.runs, metavar="RUN"
)
@click.option(
    "--of",
    default="contrast",
    metavar="contrast|TASK",
    help="Whose loss: the contrast's (positive minus negative side), or that of a task.",
)
@_options.hardware
@_options.as_json
@_options.quiet
def command(run: Path, of: str, *, as_json: bool, quiet: bool, **options: Any) -> None:
    """Test if the gradients of the weights point to the units.

    For every weight |weight x gradient| of a loss is taken and summed per tensor
    (RUN/parameters.csv) and per unit (RUN/parameters.safetensors): over the row of a matrix that
    computes the unit, or the column of the projection that reads it.
    """
    from deeploc.cli._console import print_json
    from deeploc.cli._progress import Console
    from deeploc.parameters import attribute_parameters
    from deeploc.report.parameters import agreements, tensor_sums

    folder = attribute_parameters(run, of, _options.hardware_of(options), Console(quiet))
    if as_json:
        from dataclasses import asdict

        sums = [asdict(tensor) for tensor in tensor_sums(folder)]
        kinds = [kind.to_json() for kind in agreements(folder)]
        print_json({"run": str(run), "of": of, "kinds": kinds, "tensors": sums})
    else:
        _print(folder, of)


def _print(folder: "RunFolder", of: str) -> None:
    import textwrap

    from deeploc.cli._console import print_table, shorten
    from deeploc.report.parameters import agreements, tensor_sums
    from deeploc.report.text import format_number

    sums = tensor_sums(folder)
    rows = [
        [shorten(t.tensor, 44), f"{t.weights:,}", format_number(t.total), f"{100 * t.share:.1f} %"]
        for t in sums[:_TENSORS]
    ]
    head = f"tensor ({min(_TENSORS, len(sums))} of {len(sums)})"
    print_table([head, "weights", "|w x g|", "share"], rows, n_numeric=3)
    click.echo()
    kinds = agreements(folder)
    if not kinds:
        click.echo("no unit of this run has weights of its own")
        return
    table = []
    for kind in kinds:
        shared = kind.overlap
        counts = [f"{n:,}" for n in (kind.n_units, shared.first, shared.both)]
        numbers = [format_number(shared.expected), f"{shared.p:.2g}", f"{kind.correlation:.2f}"]
        table.append([kind.sites, *counts, *numbers])
    print_table(
        ["sites", "units", "selected", "in top rows", "by chance", "p", "rank r"],
        table,
        n_numeric=6,
    )
    by = folder.read_manifest().ranked_by
    text = (
        f"in top rows: selected units among as many with the largest |weight x gradient| of the "
        f"loss of {of}; by chance: for a random selection; p: hypergeometric, for as many or "
        f"more; rank r: Spearman's between |weight x gradient| and "
        f"{'the statistic' if by == 'contrast' else 'the ' + by}"
    )
    click.echo(textwrap.fill(text, 80))
    click.echo(f"\nevery tensor: {folder.path / 'parameters.csv'}")
