"""``deeploc contrasts``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _options

if TYPE_CHECKING:
    from deeploc.analysis.catalogue import Holding
    from deeploc.contrast.model import Contrast


@click.command("contrasts")
@click.argument("name", required=False)
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="With NAME: count what this folder holds.",
)
@click.option("--yaml", "as_yaml", is_flag=True, help="With NAME: the whole file, defaults too.")
@_options.as_json
def command(name: str | None, stimuli: Path | None, as_yaml: bool, as_json: bool) -> None:
    """List the shipped contrasts, or show what one holds.

    NAME is a shipped name or a path ending in .yaml. Shown are its conditions, with counts,
    samples and sources, and its tasks. Nothing is downloaded.
    """
    if name is None:
        if stimuli or as_yaml:
            raise click.UsageError("--stimuli and --yaml go with the NAME of a contrast")
        _list(as_json)
        return
    from deeploc.analysis.catalogue import holdings
    from deeploc.contrast.model import load

    contrast = load(name)
    if as_yaml:
        import yaml

        resolved = contrast.to_json()
        click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)
    elif as_json:
        _print_json(contrast, holdings(contrast, stimuli))
    else:
        _show(name, contrast, holdings(contrast, stimuli))


def _print_json(contrast: "Contrast", held: "list[Holding]") -> None:
    from dataclasses import asdict

    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_json

    told = {h.condition: {k: v for k, v in asdict(h).items() if k != "condition"} for h in held}
    print_json({**contrast.to_json(), "needs": needs(contrast), "stimuli": told})


def _list(as_json: bool) -> None:
    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_json, print_table, width
    from deeploc.contrast.model import available, load

    shipped = [(name, load(name)) for name in available()]
    rows = [{"name": n, "modality": c.modality, "needs": needs(c)} for n, c in shipped]
    if as_json:
        told = zip(rows, shipped, strict=True)
        print_json([{**row, "title": c.title, "source": c.source} for row, (_, c) in told])
        return
    head = {"name": "contrast", "modality": "modality", "needs": "needs"}
    room = width() - sum(max(len(row[key]) for row in (head, *rows)) + 2 for key in head)
    cells = [
        [*row.values(), _short(c.title, room)] for row, (_, c) in zip(rows, shipped, strict=True)
    ]
    print_table([*head.values(), "title"], cells)


def _show(typed: str, contrast: "Contrast", held: "list[Holding]") -> None:
    from deeploc.analysis.catalogue import needs
    from deeploc.cli._console import print_paragraph

    print_paragraph(f"{contrast.name}: {contrast.title}")
    click.echo(f"\nmodality: {contrast.modality}; needs: {needs(contrast)}")
    for what in ("source", "licence", "notes"):
        if text := getattr(contrast, what):
            print_paragraph(f"{what}: {text}")
    for holding in held:
        _print_holding(holding, one_line=contrast.modality == "image")
    click.echo()
    if any(holding.fetchable for holding in held):
        print_paragraph(
            f"`deeploc check {shlex.quote(typed)}` fetches what is not on this machine; "
            "--stimuli DIR reads a copy of yours"
        )
    print_paragraph(f"contrast: {_said(contrast)}")
    print_paragraph(f"tasks: {_tasks(contrast)}")


def _print_holding(holding: "Holding", one_line: bool) -> None:
    from deeploc.cli._console import print_paragraph, width

    n = "" if holding.n is None else f"{holding.n:,} from "
    click.echo()
    print_paragraph(f"{holding.condition}: {n}{holding.origin}")
    samples = [", ".join(holding.samples)] if one_line and holding.samples else holding.samples
    for line in samples:
        click.echo(f"    {_short(line, width() - 4)}")
    if holding.missing:
        print_paragraph(holding.missing, indent=4)


def _said(contrast: "Contrast") -> Any:
    each = ", each on its own" if contrast.against == "each" else ""
    return f"{contrast.contrast}{each}"


def _tasks(contrast: "Contrast") -> str:
    return ", ".join(name for name, _ in contrast.tasks) or "none"


def _short(text: str, room: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= room else f"{plain[: max(room - 1, 1)]}…"
