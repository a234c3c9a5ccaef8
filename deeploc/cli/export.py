"""``deeploc export``."""

from pathlib import Path

import click

from deeploc.cli import _completion


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["llm-localization"]),
    default="llm-localization",
    help="llm-localization: (layers x hidden) 0/1 matrix of block outputs, .npy.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; RUN/mask.npy by default.",
)
def command(run: Path, kind: str, output: Path | None) -> None:
    """Write a mask in a format that other tools read."""
    from deeploc.runs.files import export_llm_localization
    from deeploc.runs.folder import RunFolder

    del kind  # there is only one format
    target = output or run / "mask.npy"
    export_llm_localization(RunFolder(run).read_mask(), target)
    click.echo(str(target))
