"""``deeploc contrasts``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.analysis.catalogue import ConditionSummary
    from deeploc.contrast.model import Contrast


@click.command("contrasts")
@click.argument("name", required=False, shell_complete=_completion.contrasts)
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="With NAME: count the stimuli in this folder.",
)
@click.option(
    "--yaml", "as_yaml", is_flag=True, help="With NAME: print the whole file, with defaults."
)
@_options.plugins
@_options.as_json
def command(name: str | None, stimuli: Path | None, as_yaml: bool, as_json: bool) -> None:
    """List the shipped contrasts, or describe one.

    NAME is a shipped name or a path ending in .yaml. The description contains the conditions, with
    counts, samples and sources, and the tasks. Nothing is downloaded.
    """
    if name is None:
        if stimuli or as_yaml:
            raise click.UsageError("--stimuli and --yaml need the NAME of a contrast")
        _list(as_json)
        return
    from deeploc.analysis.catalogue import summarize_conditions
    from deeploc.contrast.model import load

    contrast = load(name)
    if as_yaml:
        import yaml

        resolved = contrast.to_json()
        click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)
    elif as_json:
        _print_json(contrast, summarize_conditions(contrast, stimuli))
    else:
        _print(name, contrast, summarize_conditions(contrast, stimuli))


def _print_json(contrast: "Contrast", summaries: "list[ConditionSummary]") -> None:
    from dataclasses import asdict

    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_json

    plain = {summary.condition: asdict(summary) for summary in summaries}
    for fields in plain.values():
        del fields["condition"]
    print_json({**contrast.to_json(), "needs": needs(contrast), "stimuli": plain})


def _list(as_json: bool) -> None:
    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_json, print_table, shorten, width
    from deeploc.contrast.model import available, load

    shipped = [(name, load(name)) for name in available()]
    rows = [{"name": n, "modality": c.modality, "needs": needs(c)} for n, c in shipped]
    if as_json:
        pairs = zip(rows, shipped, strict=True)
        print_json([{**row, "title": c.title, "source": c.source} for row, (_, c) in pairs])
        return
    head = {"name": "contrast", "modality": "modality", "needs": "needs"}
    room = width(80) - sum(max(len(row[key]) for row in (head, *rows)) + 2 for key in head)
    cells = [
        [*row.values(), shorten(c.title, room)] for row, (_, c) in zip(rows, shipped, strict=True)
    ]
    print_table([*head.values(), "title"], cells)


def _print(name: str, contrast: "Contrast", summaries: "list[ConditionSummary]") -> None:
    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_paragraph

    print_paragraph(f"{contrast.name}: {contrast.title}")
    click.echo(f"\nmodality: {contrast.modality}; needs: {needs(contrast)}")
    for field in ("source", "licence", "notes"):
        if text := getattr(contrast, field):
            print_paragraph(f"{field}: {text}")
    for summary in summaries:
        _print_condition(summary, one_line=contrast.modality == "image")
    click.echo()
    if any(summary.fetchable for summary in summaries):
        print_paragraph(
            f"`deeploc check {shlex.quote(name)}` downloads what is not on this machine; "
            "--stimuli DIR reads a local copy"
        )
    print_paragraph(f"contrast: {_comparison(contrast)}")
    print_paragraph(f"tasks: {_tasks(contrast)}")


def _print_condition(summary: "ConditionSummary", one_line: bool) -> None:
    from deeploc.cli._console import print_paragraph, shorten, width

    n = "" if summary.n is None else f"{summary.n:,} from "
    click.echo()
    print_paragraph(f"{summary.condition}: {n}{summary.origin}")
    samples = [", ".join(summary.samples)] if one_line and summary.samples else summary.samples
    for line in samples:
        click.echo(f"    {shorten(line, width() - 4)}")
    if summary.missing:
        print_paragraph(summary.missing, indent=4)


def _comparison(contrast: "Contrast") -> str:
    each = ", each separately" if contrast.against == "each" else ""
    return f"{contrast.contrast}{each}"


def _tasks(contrast: "Contrast") -> str:
    return ", ".join(name for name, _ in contrast.tasks) or "none"
