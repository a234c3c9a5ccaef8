"""``deeploc lm-eval``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options
from deeploc.cli._listed import Listed

if TYPE_CHECKING:
    from deeploc.runs.run import Run

_TASK = "lm-eval"


@click.command("lm-eval")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@click.option(
    "--tasks",
    "names",
    type=Listed(),
    required=True,
    help="Tasks, groups or tags of lm-evaluation-harness; * stands for any text.",
)
@click.option("--limit", type=click.IntRange(min=1), help="The first so many items of every task.")
@click.option(
    "--num-fewshot", type=click.IntRange(min=0), help="Examples before every item, for all tasks."
)
@click.option(
    "--include-path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Use the task files in this folder, and run the Python code that they name; repeatable.",
)
@_options.hardware
@_options.doses
@_options.as_json
@_options.verbose
@_options.quiet
def command(run: Path, as_json: bool, verbose: bool, quiet: bool, **options: Any) -> None:
    """Measure tasks of lm-evaluation-harness under ablation.

    They are added to those of the run: intact, ablated, and under every control. Without options
    the doses, modes and controls are those of the contrast.
    """
    from deeploc.cli._progress import Console
    from deeploc.cli._results import print_results
    from deeploc.core.harness import trust
    from deeploc.experiment import evaluate_run, open_run

    for folder in options["include_path"]:
        trust(folder)
    opened = open_run(run, _options.hardware_of(options), Console(quiet))
    changes = _options.overrides_of(
        **{name: options[name] for name in ("percent", "mode", "controls")}
    )
    wanted = json.dumps([{_TASK: _wanted(opened, options)}], ensure_ascii=False)
    evaluate_run(opened, opened.contrast.with_changes([*changes, f"evaluate={wanted}"]))
    print_results(opened.folder, as_json, verbose=verbose)


def _wanted(run: "Run", options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the task: what is asked for now, then what the run has already."""
    record = run.folder.read_manifest().evaluate
    measured = record.tasks.get(_TASK) if record else None
    earlier: Mapping[str, Any] = measured.items["tasks"] if measured else {}
    asked = {key: options[key] for key in ("limit", "num_fewshot") if options[key] is not None}
    kept = {
        name: {key: items[key] for key in ("limit", "num_fewshot") if items[key] is not None}
        for name, items in earlier.items()
        if name not in options["names"]
    }
    folders = [str(folder.absolute()) for folder in options["include_path"]]
    of_contrast = dict(run.contrast.tasks).get(_TASK, {}).get("include_path") or []
    folders += [of_contrast] if isinstance(of_contrast, str) else of_contrast
    tasks = [
        {name: own} for name, own in {**dict.fromkeys(options["names"], asked), **kept}.items()
    ]
    return {"tasks": tasks, **({"include_path": folders} if folders else {})}
