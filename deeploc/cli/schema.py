"""``deeploc schema``."""

import click

from deeploc.cli import _options


@click.command("schema")
@_options.plugins
def command() -> None:
    """Print the JSON Schema of contrast files, for editors."""
    from deeploc.cli._console import print_json
    from deeploc.contrast.schema import contrast_schema

    print_json(contrast_schema())
