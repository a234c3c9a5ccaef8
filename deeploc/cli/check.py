"""``deeploc check``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.analysis.audit import Audit
    from deeploc.core.unit_task import AnyTask
    from deeploc.stimuli import StimulusSets

_MAX_NAME = 24
"""Most characters of a condition's name."""


@click.command("check")
@click.argument("contrast", metavar="FILE.yaml|NAME", shell_complete=_completion.contrasts)
@click.option(
    "-m",
    "--model",
    metavar="ADAPTER:NAME",
    shell_complete=_completion.models,
    help="Count the tokens of this model as well.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the random sample.")
@click.option(
    "--limit", type=click.IntRange(min=2), help="Maximum number of stimuli per condition."
)
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Read the stimuli from this folder.",
)
@_options.checkpoint
@_options.strict
@_options.plugins
@_options.as_json
def command(contrast: str, model: str | None, as_json: bool, **options: Any) -> None:
    """Validate a contrast and audit its stimuli.

    The stimuli and the items of the tasks are read. Two stimuli of each condition are printed, and
    a warning for each difference between the two sides that alone could explain the contrast.
    """
    from deeploc.analysis.audit import audit_stimuli
    from deeploc.analysis.tasks import make_tasks
    from deeploc.cli._progress import Console
    from deeploc.contrast.model import load
    from deeploc.plugins import load_model
    from deeploc.runs.inputs import sampled_stimuli
    from deeploc.runs.setup import Setup

    loaded = load(contrast)
    hardware = _options.hardware_of(options)
    setup = Setup("", hardware, options["limit"], options["stimuli"], strict=options["strict"])
    reporter = Console()
    stimuli = sampled_stimuli(loaded, setup, reporter)
    tasks = make_tasks(
        loaded,
        stimuli.halves,
        seed=setup.seed,
        limit=setup.limit,
        strict=setup.strict,
        folder=setup.folder,
    )
    shown = replace(hardware, modality=loaded.modality)
    adapter = load_model(model, shown) if model else None
    audit = audit_stimuli(loaded, stimuli, adapter)
    (_print_json if as_json else _print)(contrast, stimuli, audit, tasks)
    stimuli.report_unreadable(reporter)


def _print(
    contrast: str, stimuli: "StimulusSets", audit: "Audit", tasks: "Sequence[AnyTask]"
) -> None:
    from deeploc.cli._colour import coloured
    from deeploc.cli._console import print_table, shorten
    from deeploc.report.audit_tables import tables

    print_table(["condition", "localize", "evaluate", "for example", "and"], _samples(stimuli))
    for head, rows in tables(audit.to_json()):
        click.echo()
        short = [[shorten(name, _MAX_NAME), *cells] for name, *cells in rows]
        print_table(head, short, n_numeric=len(head) - 1)
    click.echo()
    for warning in audit.warnings:
        click.echo(coloured(f"warning: {warning}", "warning:"))
    names = ", ".join(task.name for task in tasks) or "none"
    click.echo(f"{contrast}: valid; tasks: {names}")


def _samples(stimuli: "StimulusSets") -> list[list[str]]:
    """Return a row per condition: how many stimuli localize and evaluate, and the first two."""
    from deeploc.cli._console import shorten, width

    names = [shorten(name, _MAX_NAME) for name in stimuli.localizing]
    room = (width(80) - max(map(len, [*names, "condition"])) - 2 * len("localize") - 4 * 2) // 2
    rows = []
    for name, (condition, localizing) in zip(names, stimuli.localizing.items(), strict=True):
        counts = [str(len(localizing)), str(len(stimuli.held_out[condition]))]
        titles = [shorten(stimulus.title, room) for stimulus in localizing[:2]]
        rows.append([name, *counts, *titles, *[""] * (2 - len(titles))])
    return rows


def _print_json(
    contrast: str, stimuli: "StimulusSets", audit: "Audit", tasks: "Sequence[AnyTask]"
) -> None:
    from dataclasses import asdict

    from deeploc.cli._console import print_json

    conditions = {
        name: {
            "localize": len(localizing),
            "evaluate": len(stimuli.held_out[name]),
            "samples": [stimulus.title for stimulus in localizing[:2]],
        }
        for name, localizing in stimuli.localizing.items()
    }
    print_json(
        {
            "contrast": contrast,
            "valid": True,
            "tasks": [task.name for task in tasks],
            "conditions": conditions,
            "unreadable": [asdict(image) for image in stimuli.unreadable],
            "audit": audit.to_json(),
        }
    )
