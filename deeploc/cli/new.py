"""``deeploc new``."""

from pathlib import Path

import click


@click.command("new")
@click.argument("name")
@click.option(
    "--modality", type=click.Choice(["text", "image"]), default="text", help="What the stimuli are."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write this file, or into this folder, in place of NAME.yaml.",
)
def command(name: str, modality: str, output: Path | None) -> None:
    """Write NAME.yaml, a commented contrast that is ready to run.

    NAME may be a path. deeploc.schema.json, with which editors complete and check contrast files,
    is written beside it.
    """
    import shlex

    from deeploc.contrast.scaffold import new_contrast

    path = new_contrast(Path(name), modality, output)
    quoted = shlex.quote(str(path))
    model = "reference:cnn" if modality == "image" else "reference:lm"
    click.echo(
        f"{path} is written and ready to run. Change what it compares, then\n"
        f"  deeploc check {quoted}\n"
        f"  deeploc run {quoted} -m {model}"
    )
