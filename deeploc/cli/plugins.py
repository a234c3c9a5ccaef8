"""``deeploc plugins``."""

import click

from deeploc.cli import _options

_WIDTH = 80
"""Most columns of the table; the reason why a plugin cannot be used stands in full below it."""


@click.command("plugins")
@_options.plugins
@_options.as_json
def command(as_json: bool) -> None:
    """List the plugins, and whether each loads.

    These are the adapters, tasks, statistics, controls and generators of deeploc, of installed
    packages, and of the files that --plugin and the user's config name.
    """
    from dataclasses import asdict

    from deeploc.cli._console import print_json, print_paragraph, print_table, shorten, width
    from deeploc.plugins import listed

    plugins = listed()
    if as_json:
        print_json([asdict(plugin) for plugin in plugins])
        return
    head = ["group", "name", "version", "origin", "state"]
    rows = [[p.group, p.name, p.version, p.origin.rpartition("/")[2], "ok"] for p in plugins]
    for row, plugin in zip(rows, plugins, strict=True):
        row[-1] = "ok" if plugin.state == "ok" else "broken"
    longest = [max(len(row[column]) for row in [head, *rows]) for column in range(5)]
    room = (min(width(_WIDTH), _WIDTH) - 2 * 4 - longest[0] - longest[2] - longest[4]) // 2
    print_table(head, [[g, shorten(n, room), v, shorten(o, room), s] for g, n, v, o, s in rows])
    for plugin in plugins:
        if plugin.state != "ok" and plugin.name != "-":  # of a whole file one was given already
            print_paragraph(f"warning: {plugin.group} {plugin.name}: {plugin.state}")
