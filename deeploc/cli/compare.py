"""``deeploc compare``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deeploc.cli import _options

if TYPE_CHECKING:
    from deeploc.report.overlaps import ComparedRuns
    from deeploc.runs.saved_run import SavedRun

_PER_BLOCK = 6
"""How many runs stand side by side."""


@click.command("compare")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN…"
)
@_options.as_json
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Show which units several runs share, and their verdicts side by side.

    Overlaps stand beside what two random selections of these sizes share. Runs of other models are
    compared at the sites of equal name and size. No model is loaded.
    """
    from deeploc.cli._console import print_json
    from deeploc.report.overlaps import compare_runs

    if len(runs) < 2:
        raise click.UsageError("name at least two runs")
    compared = compare_runs(runs)
    if as_json:
        print_json(compared.to_json())
        return
    _print_runs(compared)
    _print_overlaps(compared)
    for start in range(0, len(runs), _PER_BLOCK):
        numbers = range(start, min(start + _PER_BLOCK, len(runs)))
        _print_verdicts(compared, numbers)


def _print_runs(compared: "ComparedRuns") -> None:
    from deeploc.cli._console import print_table, shorten

    rows = []
    both = zip(compared.runs, compared.manifests, strict=True)
    for number, (run, manifest) in enumerate(both, start=1):
        name = run.folder.path.name
        adapter, _, model = manifest.address.rpartition(":")
        about = f"{manifest.contrast['name']} in {adapter}:{Path(model).name}"
        rows.append([str(number), shorten(name, 24), shorten(about, 36), manifest.ranked_by])
    print_table(["", "run", "contrast", "ranked by"], rows)


def _print_overlaps(compared: "ComparedRuns") -> None:
    import textwrap

    from deeploc.cli._console import print_table
    from deeploc.report.text import format_number

    if not compared.pairs:
        click.echo("\nno two of these runs have a site in common")
        return
    for kind in compared.kinds:
        rows = []
        for pair in (pair for pair in compared.pairs if pair.sites == kind):
            both = pair.overlap
            sizes = f"{both.first:,}, {both.second:,} of {both.n_units:,}"
            chance = [format_number(both.expected), _share(both.jaccard), _share(both.dice)]
            numbers = [f"{both.both:,}", *chance, f"{both.p:.2g}", _share(pair.r)]
            rows.append([f"{pair.first + 1} and {pair.second + 1}", sizes, *numbers])
        if rows:
            click.echo(f"\nselected units, {kind}")
            head = ["runs", "selected", "shared", "by chance", "Jaccard", "Dice", "p", "r(t)"]
            print_table(head, rows, n_numeric=6)
    text = (
        "by chance: shared by two random selections of these sizes; p: hypergeometric, for as many "
        "or more; r(t): Pearson's of the statistics of all units"
    )
    click.echo(f"\n{textwrap.fill(text, 80)}")


def _print_verdicts(compared: "ComparedRuns", numbers: range) -> None:
    from deeploc.cli._console import print_table

    runs = [compared.runs[number] for number in numbers]
    asked = [q for run in runs for kind in compared.kinds for q in _questions(run, kind)]
    if not asked:
        return
    click.echo()
    rows = []
    for kind in compared.kinds:
        rows.append([kind])
        rows.append(["  units ablated", *(_ablated(run, kind) for run in runs)])
        for question in dict.fromkeys(asked):
            rows.append([f"  {question}", *(_answer(run, kind, question) for run in runs)])
        rows.append(["  primary intact", *(_primary(run, kind, "intact") for run in runs)])
        rows.append(["  primary ablated", *(_primary(run, kind, "ablated") for run in runs)])
    print_table(["verdict", *(str(number + 1) for number in numbers)], rows, n_numeric=len(runs))
    for number, run in zip(numbers, runs, strict=True):
        if run.verdict and run.verdict.primary:
            click.echo(f"primary outcome of {number + 1}: {run.verdict.primary}")


def _questions(run: "SavedRun", kind: str) -> list[str]:
    network = run.network(kind)
    return [reply.question for reply in network.replies] if network else []


def _answer(run: "SavedRun", kind: str, question: str) -> str:
    network = run.network(kind)
    answer = network.answer(question) if network else "not asked"
    return "-" if answer == "not asked" else answer


def _ablated(run: "SavedRun", kind: str) -> str:
    network = run.network(kind)
    return f"{network.n_ablated:,}" if network else "-"


def _primary(run: "SavedRun", kind: str, which: str) -> str:
    from deeploc.report.text import format_number

    network = run.network(kind)
    reply = network.reply("causal") if network else None
    value = reply.numbers.get(which) if reply else None
    return "-" if value is None else format_number(value)


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"
