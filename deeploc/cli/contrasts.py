"""``deeploc contrasts``."""

import click

from deeploc.cli import _options


@click.command("contrasts")
@click.argument("name", required=False)
@_options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the shipped contrasts, or show one in full."""
    from deeploc.cli._console import print_json, print_table
    from deeploc.contrast import available, load

    if name is not None:
        import yaml

        resolved = load(name).resolved()
        if as_json:
            print_json(resolved)
        else:
            click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)
        return
    shipped = [load(each) for each in available()]
    if as_json:
        print_json([{"name": c.name, "title": c.title, "source": c.source} for c in shipped])
    else:
        print_table(
            ["contrast", "modality", "title"], [[c.name, c.modality, c.title] for c in shipped]
        )
