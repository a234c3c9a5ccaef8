"""``deeploc sites``."""

from collections.abc import Sequence
from typing import Any

import click

from deeploc.cli import _completion, _options

_COLUMNS = 80
"""Most columns of the table: names of modules are cut off, not broken."""


@click.command("sites")
@click.argument("model", metavar="ADAPTER:NAME", shell_complete=_completion.models)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    shell_complete=_completion.kinds,
    help="Only these; repeatable.",
)
@click.option("-v", "--verbose", is_flag=True, help="Repeated modules one by one.")
@_options.hardware
@_options.checkpoint
@_options.weights
@_options.as_json
def command(model: str, kinds: Sequence[str], verbose: bool, as_json: bool, **options: Any) -> None:
    """Show the sites: where a model can be read and ablated.

    Any other module can be named by its path, too: --sites 'model.layers.*.mlp.up_proj'.
    """
    from deeploc.cli._console import print_json, print_table, shorten, width
    from deeploc.cli._site_tree import tree_rows
    from deeploc.plugins import load_model

    sites = load_model(model, _options.hardware_of(options)).sites
    if kinds:
        sites = sites.choose(kinds)
    if as_json:
        print_json(sites.table())
        return
    rows = tree_rows(sites.sites, fold=not verbose)
    rest = sum(2 + max(len(row[column]) for row in rows) for column in (1, 2, 3))
    room = max(min(width(_COLUMNS), _COLUMNS) - rest, 20)
    table = []
    for label, *cells in rows:
        name = label.lstrip()
        indent = label[: len(label) - len(name)]
        table.append([indent + shorten(name, room - len(indent)), *cells])
    print_table(["site", "kind", "units", "shape"], table)
