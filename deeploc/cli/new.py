"""``deeploc new``."""

from pathlib import Path

import click


@click.command("new")
@click.argument("name")
@click.option(
    "--modality", type=click.Choice(["text", "image"]), default="text", help="What is shown."
)
def command(name: str, modality: str) -> None:
    """Write NAME.yaml, a commented contrast that runs as it is.

    NAME may be a path. Beside it goes deeploc.schema.json, by which editors complete and check
    contrast files.
    """
    from deeploc.scaffold import new_contrast

    path = new_contrast(Path(name), modality)
    model = "reference:cnn" if modality == "image" else "reference:lm"
    click.echo(
        f"{path}: change what it compares, then\n"
        f"  deeploc check {path}\n"
        f"  deeploc run {path} -m {model}"
    )
