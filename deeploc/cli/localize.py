"""``deeploc localize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.contrast.model import Contrast
    from deeploc.core.units import StatMap, UnitMask
    from deeploc.runs.run import Run
    from deeploc.sweep.shards import ShardedLocalizer


@click.command("localize")
@click.argument("contrast", shell_complete=_completion.contrasts)
@_options.model
@_options.output
@_options.experiment
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read the stimuli in N parts, by workers of a Ray cluster.",
)
@_options.as_json
@_options.quiet
def command(
    contrast: str,
    model: str,
    output: Path | None,
    *,
    shards: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Localize the units: statistics and mask, no ablation."""
    from deeploc.cli._progress import Console
    from deeploc.experiment import localize_run

    described, setup, folder = _options.resolve(contrast, model, output, options)
    overwrite = options["overwrite"]
    localizer = _sharded(shards) if shards else None
    run = localize_run(
        described, setup, folder, Console(quiet), overwrite=overwrite, localizer=localizer
    )
    (_print_as_json if as_json else _print)(run, described)


def _print_as_json(run: "Run", contrast: "Contrast") -> None:
    from deeploc.cli._console import print_json
    from deeploc.cli._results import selection_json

    manifest = run.folder.read_plain_manifest()
    ranked = {"statistic": contrast.statistic, "ranked_by": contrast.select.by}
    chosen = {**ranked, "selected": manifest["select"]["selected"]}
    parts = {**chosen, **selection_json(run.folder)}
    print_json({"run": str(run.folder.path), **manifest["localize"], **parts})


def _print(run: "Run", contrast: "Contrast") -> None:
    from deeploc.cli._results import (
        print_massive,
        print_profile,
        print_reliability,
        print_untrained,
    )
    from deeploc.report.statistic_text import words_of

    statistic, by = words_of({"statistic": contrast.statistic}), contrast.select.by
    _print_sites(run.stat_map, run.mask, statistic.symbol)
    print_profile(run.folder)
    print_reliability(run.folder)
    print_untrained(run.folder)
    print_massive(run.folder)
    click.echo(f"ranked by {statistic.name if by == 'contrast' else by}")
    n, folder = run.stat_map.layout.n_units, run.folder.path
    click.echo(f"selected {len(run.mask):,} of {n:,} units: {folder}")


def _sharded(n: int) -> "ShardedLocalizer":
    from deeploc.sweep.ray import require_ray
    from deeploc.sweep.shards import ShardedLocalizer

    require_ray("--shards")  # before anything is read
    return ShardedLocalizer(n)


def _print_sites(stat_map: "StatMap", mask: "UnitMask", symbol: str) -> None:
    from deeploc.cli._console import print_table
    from deeploc.report.text import format_number

    rows = []
    for site in stat_map.layout.sites:
        t = stat_map.t[stat_map.layout.slices[site.name]]
        counts = [f"{site.n_units:,}", f"{int(mask.at(site.name).sum()):,}"]
        rows.append([site.name, site.kind, *counts, format_number(t.max())])
    print_table(["site", "kind", "units", "selected", f"max {symbol}"], rows, n_numeric=3)
