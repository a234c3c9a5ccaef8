"""``deeploc localize``."""

from pathlib import Path
from typing import Any

import click

from deeploc.cli import _options


@click.command("localize")
@click.argument("contrast")
@_options.model
@_options.output
@_options.experiment
@_options.as_json
@_options.quiet
def command(
    contrast: str, model: str, output: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Find the units: statistics and mask, no ablation."""
    from deeploc.cli._console import print_json, print_profile, print_table, profile_json
    from deeploc.cli._progress import Console
    from deeploc.experiment import localize_run
    from deeploc.report.text import number

    described, setup, folder = _options.resolve(contrast, model, output, options)
    overwrite = options["overwrite"]
    run = localize_run(described, setup, folder, Console(quiet), overwrite=overwrite)
    if as_json:
        found = profile_json(run.folder)
        manifest = run.folder.read_plain_manifest()
        selected = {"selected": manifest["select"]["selected"]}
        print_json({"run": str(folder), **manifest["localize"], **selected, "profile": found})
        return
    rows = []
    for site in run.stat_map.layout.sites:
        t = run.stat_map.t[run.stat_map.layout.slices[site.name]]
        chosen = int(run.mask.at(site.name).sum())
        rows.append([site.name, site.kind, f"{site.n_units:,}", f"{chosen:,}", number(t.max())])
    print_table(["site", "kind", "units", "selected", "max t"], rows, numbers=3)
    print_profile(run.folder)
    click.echo(f"selected {len(run.mask):,} of {run.stat_map.layout.n_units:,} units: {folder}")
