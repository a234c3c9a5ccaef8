"""``deeploc compare``."""

from contextlib import suppress
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.report.overlaps import ComparedRuns, PairOverlap
    from deeploc.report.site_counts import SiteCounts

_PER_BLOCK = 6
"""How many verdicts stand side by side."""

_PER_MATRIX = 12
"""How many columns of a matrix stand side by side."""

_SITES = 32
"""Most characters of a line of sites."""


@click.command("compare")
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN RUN…",
    shell_complete=_completion.runs,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PAGE.html",
    help="The page to write.  [default: compare.html in the folder that holds the first run; "
    "with --json none]",
)
@_options.as_json
def command(runs: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Show which units several runs share, and their verdicts side by side.

    A RUN is a run folder, or a folder that holds run folders. Overlaps stand beside what two random
    selections of these sizes share, the statistics of all units beside each other. Runs of other
    models are compared at the sites of equal name and size. The tables are also written as one
    page, with figures. No model is loaded.
    """
    from deeploc import atomic
    from deeploc.cli._console import print_json
    from deeploc.report.comparison import default_page, render
    from deeploc.report.overlaps import compare_runs
    from deeploc.runs.folder import RunFolder

    if len(runs) == 1 and RunFolder(runs[0]).exists():
        raise click.UsageError("name at least two runs, or a folder that holds them")
    if output is not None and output.suffix != ".html":
        raise click.UsageError(f"the page is HTML: -o must end in .html, got {output}")
    compared = compare_runs(runs)
    if as_json:
        print_json(compared.to_json())
    else:
        _print(compared)
        output = output or default_page(compared)
    if output is not None:
        with suppress(OSError):  # `write` says what is wrong
            output.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(output, render(compared))
        click.echo(f"page: {output}", err=True)


def _print(compared: "ComparedRuns") -> None:
    for why in compared.left_out.values():
        click.echo(f"left out: {why}", err=True)
    _print_runs(compared)
    if compared.pairs:
        _print_matrices(compared)
        _print_overlaps(compared)
        _print_correlations(compared)
    else:
        click.echo("\nno two of these runs have a site in common")
    _print_sites(compared)
    for start in range(0, len(compared.runs), _PER_BLOCK):
        numbers = range(start, min(start + _PER_BLOCK, len(compared.runs)))
        _print_verdicts(compared, numbers)


def _print_runs(compared: "ComparedRuns") -> None:
    from deeploc.cli._console import print_table

    rows = []
    for number, manifest in enumerate(compared.manifests):
        adapter, _, model = manifest.address.rpartition(":")
        about = (manifest.contrast["name"], f"{adapter}:{Path(model).name}")
        end = (manifest.ranked_by, _cut(str(manifest.options.seed), 8))
        name = _cut(compared.names[number], 19)
        rows.append([str(number + 1), name, *(_cut(text, 15) for text in about), *end])
    print_table(["", "run", "contrast", "model", "ranked by", "seed"], rows)


def _cut(name: str, width: int) -> str:
    """Return a name without its middle: names of runs differ at their ends."""
    if len(name) <= width:
        return name
    end = (width - 1) * 2 // 3
    return f"{name[: width - 1 - end]}…{name[-end:]}"


def _print_matrices(compared: "ComparedRuns") -> None:
    """Print Jaccard's index of every two of more than two runs."""
    from deeploc.cli._console import print_table

    n = len(compared.runs)
    if n < 3:
        return
    for start in range(0, n, _PER_MATRIX):
        columns = range(start, min(start + _PER_MATRIX, n))
        rows: list[list[str]] = []
        for kind in compared.shared_kinds:
            rows.append([kind])
            for first in range(n):
                cells = [_jaccard(compared, first, second, kind) for second in columns]
                rows.append([f"  {first + 1}", *cells])
        click.echo()
        print_table(
            ["Jaccard", *(str(number + 1) for number in columns)], rows, n_numeric=len(columns)
        )


def _jaccard(compared: "ComparedRuns", first: int, second: int, kind: str) -> str:
    from deeploc.report.overlaps import share_text

    if first == second:
        return "·"
    pair = compared.pair(first, second, kind)
    return share_text(pair.overlap.jaccard if pair else nan)


def _print_overlaps(compared: "ComparedRuns") -> None:
    from deeploc.cli._console import print_paragraph, print_table

    head = ["runs", "selected", "of", "shared", "chance", "Jaccard", "Dice", "p"]
    for kind in compared.shared_kinds:
        click.echo(f"\nselected units, {kind}")
        rows = [_overlap_row(pair) for pair in compared.of_kind(kind)]
        print_table(head, rows, n_numeric=7)
    print_paragraph(
        "chance: shared by two random selections of these sizes; p: hypergeometric, for as many "
        "or more, not corrected for the number of comparisons"
    )


def _overlap_row(pair: "PairOverlap") -> list[str]:
    from deeploc.report.overlaps import share_text
    from deeploc.report.text import format_number

    both = pair.overlap
    return [
        f"{pair.first + 1} and {pair.second + 1}",
        f"{both.first:,}, {both.second:,}",
        f"{both.n_units:,}",
        f"{both.both:,}",
        format_number(both.expected),
        share_text(both.jaccard),
        share_text(both.dice),
        f"{both.p:.2g}",
    ]


def _print_correlations(compared: "ComparedRuns") -> None:
    from deeploc.cli._console import print_table
    from deeploc.report.overlaps import share_text

    rows: list[list[str]] = []
    for kind in compared.shared_kinds:
        rows.append([kind])
        for pair in compared.of_kind(kind):
            numbers = [f"{pair.overlap.n_units:,}", share_text(pair.r), share_text(pair.rho)]
            rows.append([f"  {pair.first + 1} and {pair.second + 1}", *numbers])
    click.echo("\nstatistics of all units")
    print_table(["runs", "units", "Pearson", "Spearman"], rows, n_numeric=3)


def _print_sites(compared: "ComparedRuns") -> None:
    from deeploc.cli._console import print_paragraph

    click.echo("\nselected units per site, from the first site to the last")
    for kind in compared.kinds:
        click.echo(kind)
        found = compared.site_counts(kind)
        longest = max(len(counts.names) for counts in found if counts)
        for number, counts in enumerate(found, start=1):
            if counts:
                click.echo(_sites_line(number, counts, min(longest, _SITES)))
    print_paragraph("heights are relative to the highest of each line")


def _sites_line(number: int, counts: "SiteCounts", width: int) -> str:
    from deeploc.report.site_counts import as_blocks

    if not counts.total:
        return f"  {number}  no unit is selected"
    line = as_blocks(counts.shares, _SITES).ljust(width)
    most = f"{counts.counts[counts.peak]:,} of {counts.total:,} in "
    beside = f"  {number:<2} {line}  {most}"
    return beside + _cut(counts.names[counts.peak], 80 - len(beside))


def _print_verdicts(compared: "ComparedRuns", numbers: range) -> None:
    from deeploc.cli._console import print_paragraph, print_table
    from deeploc.report.compared_verdicts import verdict_rows

    runs = [compared.runs[number] for number in numbers]
    rows: list[list[str]] = []
    for kind in compared.kinds:
        of_kind = verdict_rows(runs, kind)
        if of_kind:
            rows.append([kind])
        for label, cells in of_kind.items():
            rows.append([f"  {label}", *(cell.text for cell in cells)])
    if not rows:
        return
    click.echo()
    print_table(["verdict", *(str(number + 1) for number in numbers)], rows, n_numeric=len(runs))
    for number, run in zip(numbers, runs, strict=True):
        if run.verdict and run.verdict.primary:
            print_paragraph(f"primary outcome of {number + 1}: {run.verdict.primary}")
