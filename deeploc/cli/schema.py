"""``deeploc schema``."""

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of contrast files, for editors."""
    from deeploc.cli._console import print_json
    from deeploc.contrast.schema import contrast_schema

    print_json(contrast_schema())
