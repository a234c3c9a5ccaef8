"""``deeploc check``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _options

if TYPE_CHECKING:
    from deeploc.analysis.audit import Audit
    from deeploc.core.task import Task
    from deeploc.stimuli import StimulusSets

_WIDTH = 100
_MOST_NAME = 24


@click.command("check")
@click.argument("contrast", metavar="FILE.yaml|NAME")
@click.option("-m", "--model", metavar="ADAPTER:NAME", help="Count the tokens of this model too.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the sample.")
@click.option("--limit", type=click.IntRange(min=2), help="Most stimuli per condition.")
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Read the stimuli from this folder.",
)
@_options.strict
@_options.as_json
def command(contrast: str, model: str | None, as_json: bool, **options: Any) -> None:
    """Validate a contrast and audit its stimuli.

    Reads its stimuli and the items of its tasks too, shows two of each condition, and warns of
    what differs enough between the two sides to explain the contrast by itself.
    """
    from deeploc.analysis.audit import examine
    from deeploc.analysis.tasks import make_tasks
    from deeploc.cli._progress import Console
    from deeploc.contrast.model import load
    from deeploc.experiment import sampled_stimuli
    from deeploc.plugins import load_model
    from deeploc.runs.setup import Setup

    described = load(contrast)
    hardware = _options.hardware_of({}, seed=options["seed"])
    setup = Setup("", hardware, options["limit"], options["stimuli"], strict=options["strict"])
    watch = Console()
    drawn = sampled_stimuli(described, setup, watch)
    tasks = make_tasks(
        described, drawn.halves, seed=setup.seed, limit=setup.limit, strict=setup.strict
    )
    adapter = load_model(model, hardware) if model else None
    audit = examine(described, drawn, adapter)
    (_print_json if as_json else _print)(contrast, drawn, audit, tasks)
    drawn.report_unreadable(watch)


def _print(contrast: str, drawn: "StimulusSets", audit: "Audit", tasks: "Sequence[Task]") -> None:
    from deeploc.cli._console import print_table
    from deeploc.report.audit_tables import tables

    print_table(["condition", "localize", "evaluate", "for example", "and"], _samples(drawn))
    for head, rows in tables(audit.to_json()):
        click.echo()
        shown = [[_short(name, _MOST_NAME), *cells] for name, *cells in rows]
        print_table(head, shown, numbers=len(head) - 1)
    click.echo()
    for warning in audit.warnings:
        click.echo(f"warning: {warning}")
    names = ", ".join(task.name for task in tasks) or "none"
    click.echo(f"{contrast}: valid; tasks: {names}")


def _samples(drawn: "StimulusSets") -> list[list[str]]:
    """Return a row per condition: how many stimuli localize and evaluate, and the first two."""
    names = [_short(name, _MOST_NAME) for name in drawn.localizing]
    room = (_WIDTH - max(map(len, [*names, "condition"])) - 2 * len("localize") - 4 * 2) // 2
    rows = []
    for name, (condition, stimuli) in zip(names, drawn.localizing.items(), strict=True):
        counts = [str(len(stimuli)), str(len(drawn.held_out[condition]))]
        titles = [_short(stimulus.title, room) for stimulus in stimuli[:2]]
        rows.append([name, *counts, *titles, *[""] * (2 - len(titles))])
    return rows


def _print_json(
    contrast: str, drawn: "StimulusSets", audit: "Audit", tasks: "Sequence[Task]"
) -> None:
    from dataclasses import asdict

    from deeploc.cli._console import print_json

    conditions = {
        name: {
            "localize": len(stimuli),
            "evaluate": len(drawn.held_out[name]),
            "samples": [stimulus.title for stimulus in stimuli[:2]],
        }
        for name, stimuli in drawn.localizing.items()
    }
    left_out = [asdict(image) for image in drawn.unreadable]
    about = {"contrast": contrast, "valid": True, "tasks": [task.name for task in tasks]}
    found = {"conditions": conditions, "unreadable": left_out, "audit": audit.to_json()}
    print_json({**about, **found})


def _short(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
