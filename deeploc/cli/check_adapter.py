"""``deeploc check-adapter``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeploc.stimuli import Stimulus
    from deeploc.testing import Outcome

_WIDTH = 80
"""Columns of the table."""


@click.command("check-adapter")
@click.argument("model", metavar="ADAPTER[:NAME]", shell_complete=_completion.models)
@click.option(
    "--stimuli",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|DIR",
    help="Read these texts (one on a line of a .txt file), or the images of this folder.",
)
@click.option("--untrained", is_flag=True, help="Load random weights, sampled with --seed.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of random weights.")
@_options.hardware
@_options.weights
@_options.as_json
def command(model: str, stimuli: Path | None, as_json: bool, **options: Any) -> None:
    """Check that an adapter keeps its promises, one by one.

    It is loaded several times and reads a few texts, or images where it takes no texts. Exit code
    1 if a promise is broken.
    """
    from dataclasses import asdict

    from deeploc.cli._console import print_json
    from deeploc.core.readout import Readout
    from deeploc.plugins import load_by
    from deeploc.testing import run_checks
    from deeploc.testing.stimuli import stimuli_for

    kind, _, name = model.partition(":")
    chosen = _options.hardware_of(options)
    adapter, readout = load_by(kind, name, chosen), Readout(pool="mean")
    read = _stimuli_of(stimuli) if stimuli else stimuli_for(adapter, readout)
    outcomes = run_checks(
        adapter, read, readout, load=lambda more: load_by(kind, name, more), options=chosen
    )
    failed = [outcome.name for outcome in outcomes if outcome.state == "failed"]
    if as_json:
        rows = [asdict(outcome) for outcome in outcomes]
        print_json({"model": model, "passed": not failed, "checks": rows})
    else:
        _print(model, outcomes, failed)
    if failed:
        click.get_current_context().exit(1)


def _stimuli_of(path: Path) -> "Sequence[Stimulus]":
    from deeploc.contrast.sources import Source
    from deeploc.errors import ContrastError
    from deeploc.stimuli.reading import records
    from deeploc.stimuli.stimulus import Stimulus

    source = Source(images=(str(path),)) if path.is_dir() else Source(file=(str(path),))
    rows = records(source, base=Path.cwd())
    column = "image" if path.is_dir() else "text"
    if any(column not in row.fields for row in rows) or len(rows) < 2:
        raise ContrastError(
            f"{path}: has no two {column}s; name a .txt file with a text on every line, or a "
            "folder of images"
        )
    contents = [row.fields[column] for row in rows]
    return [
        Stimulus(f"{path.name}:{i}", Path(content) if path.is_dir() else content)
        for i, content in enumerate(contents)
    ]


def _print(model: str, outcomes: "Sequence[Outcome]", failed: "Sequence[str]") -> None:
    import textwrap

    longest = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        head = f"{outcome.name.ljust(longest)}  {outcome.state.ljust(len('skipped'))}  "
        said = outcome.promise if outcome.state == "ok" else outcome.reason
        click.echo(
            textwrap.fill(
                said,
                _WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
            )
        )
    told = f"broken: {', '.join(failed)}" if failed else "every promise is kept"
    click.echo(f"{model}: {told}")
