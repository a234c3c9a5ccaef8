"""``deeploc plugins``."""

import click

from deeploc.cli import _options


@click.command("plugins")
@_options.as_json
def command(as_json: bool) -> None:
    """List installed adapters and tasks, and whether each loads."""
    from deeploc import entry_points, plugins
    from deeploc.cli._console import print_json, print_table
    from deeploc.errors import DeeplocError

    rows = []
    for group, entry in plugins.everything():
        try:
            entry_points.load(group, entry.name)
            state = "ok"
        except DeeplocError as error:
            state = str(error)
        rows.append([group.removeprefix("deeploc."), entry.name, entry_points.origin(entry), state])
    head = ["group", "name", "package", "state"]
    if as_json:
        print_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        print_table(head, rows)
