"""``deeploc sites``."""

from typing import Any

import click

from deeploc.cli import _options


@click.command("sites")
@click.argument("model", metavar="ADAPTER:NAME")
@_options.hardware
@_options.checkpoint
@_options.weights
@_options.as_json
def command(model: str, as_json: bool, **options: Any) -> None:
    """List the sites: where a model can be read and ablated."""
    from deeploc.cli._console import print_json, print_table
    from deeploc.plugins import load_model

    sites = load_model(model, _options.hardware_of(options)).sites
    if as_json:
        print_json(sites.table())
        return
    rows = [
        [s.kind, s.name, f"{s.n_units:,}", f"({s.n_positions or 'token'}, {s.n_units})"]
        for s in sites.sites
    ]
    print_table(["kind", "site", "units", "shape"], rows)
