"""``deeploc new``."""

from pathlib import Path

import click


@click.command("new")
@click.argument("name")
@click.option(
    "--modality", type=click.Choice(["text", "image"]), default="text", help="What is shown."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write this file, or into this folder, and not NAME.yaml.",
)
def command(name: str, modality: str, output: Path | None) -> None:
    """Write NAME.yaml, a commented contrast that runs as it is.

    NAME may be a path. Beside it goes deeploc.schema.json, by which editors complete and check
    contrast files.
    """
    import shlex

    from deeploc.contrast.scaffold import new_contrast

    path = new_contrast(Path(name), modality, output)
    typed = shlex.quote(str(path))
    model = "reference:cnn" if modality == "image" else "reference:lm"
    click.echo(
        f"{path} is written; it runs as it is. Change what it compares, then\n"
        f"  deeploc check {typed}\n"
        f"  deeploc run {typed} -m {model}"
    )
