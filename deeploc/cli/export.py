"""``deeploc export``."""

from pathlib import Path

import click

from deeploc.cli import _completion

_FILES = {
    "llm-localization": "mask.npy",
    "brainscore": "{model}_language_mask.npy",
    "safetensors": "mask-by-site.safetensors",
    "numpy": "mask-by-site.npz",
    "csv": "mask.csv",
}
"""Name of a format -> the file of it; `runs.mask_files.FORMATS` writes them."""


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_FILES)),
    default="llm-localization",
    help="llm-localization, brainscore: (layers x hidden) 0/1 matrix of block outputs, .npy; "
    "safetensors, numpy: an array of 0 and 1 for each site; csv: a row for each unit.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; in RUN by default, its name is printed.",
)
def command(run: Path, kind: str, output: Path | None) -> None:
    """Write the selected units in a format that other tools read.

    brainscore is the file that Brain-Score keeps of its own localizer, NAME_language_mask.npy in
    ~/.brainio, where NAME is the model's name there; put it in that place to score these units.
    """
    from deeploc.runs.folder import RunFolder
    from deeploc.runs.mask_facts import facts_of
    from deeploc.runs.mask_files import export_mask
    from deeploc.runs.saved_run import SavedRun

    saved = SavedRun(RunFolder(run))
    facts = facts_of(saved)
    model = facts["model"].rpartition(":")[2].rpartition("/")[2]
    target = output or run / _FILES[kind].format(model=model)
    export_mask(saved.mask, target, kind, facts)
    click.echo(str(target))
