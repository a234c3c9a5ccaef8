"""``deeploc import``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.runs.mask_files import Facts

_OF_NPY = "language-paper"
"""The contrast of the code that writes .npy masks."""

_CODE = "torch:"
"""How addresses begin that name a function of Python, which loading the model calls."""


@click.command("import")
@click.argument("file", metavar="FILE|hf://USER/NAME")
@click.option(
    "--contrast",
    help="The contrast that the mask was localized with.  [default: what the file says, of .npy "
    "language-paper]",
)
@click.option(
    "-m",
    "--model",
    metavar="ADAPTER:NAME",
    shell_complete=_completion.models,
    help="The model, e.g. hf:gpt2.  [default: what the file says]",
)
@_options.output
@_options.experiment
@_options.quiet
def command(
    file: str,
    contrast: str | None,
    model: str | None,
    output: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Make a run from a mask of another tool, or of somebody else.

    FILE contains a (layers x hidden) matrix of 0 and 1 over block outputs (.npy), an array of 0
    and 1 for each site (.safetensors, .npz), or a row for each unit (.csv with the columns site
    and index). hf://USER/NAME is what `deeploc push` put on the hub; hf://USER/NAME/PATH is one
    of several masks there.

    The statistics of all units are computed with --contrast, so that every mode and control can be
    evaluated.
    """
    from deeploc.cli._progress import Console
    from deeploc.experiment import localize_run
    from deeploc.runs.mask_files import described
    from deeploc.sharing import fetch, is_shared

    path = fetch(file) if is_shared(file) else Path(file)
    sites, facts = described(path)
    contrast, model = contrast or _contrast(path, facts), model or _model(path, facts)
    loaded, setup, folder = _options.resolve(contrast, model, output, options)
    loaded = loaded.with_changes(_changes(sites, facts))
    console, overwrite = Console(quiet), options["overwrite"]
    run = localize_run(loaded, setup, folder, console, imported=path, overwrite=overwrite)
    weights = run.adapter.identity.get("weights")
    if facts.get("weights") not in (None, weights):
        console.note(f"the mask was made in other weights ({facts['weights']}) than {weights}")
    click.echo(f"imported {len(run.mask):,} units: {folder}")


def _contrast(path: Path, facts: "Facts") -> str:
    """Return the contrast that a file names, if deeploc has it."""
    from deeploc.contrast.shipped import available

    if not (named := facts.get("contrast")):
        if path.suffix == ".npy":
            return _OF_NPY
        raise click.UsageError(
            f"{path.name} does not say with which contrast it was localized; name it: --contrast"
        )
    if named not in {name.replace("/", "-") for name in available()}:
        raise click.UsageError(
            f"{path.name} was localized with a contrast {named!r} that deeploc does not have; "
            "name its file: --contrast FILE.yaml"
        )
    return str(named)


def _model(path: Path, facts: "Facts") -> str:
    """Return the model that a file names, unless that is Python code: a file alone runs none."""
    if not (named := facts.get("model")):
        raise click.UsageError(f"{path.name} does not say of which model it is; name it: -m")
    if named.startswith(_CODE):
        raise click.UsageError(
            f"{path.name} names Python code as its model; if you trust it, name it: -m {named}"
        )
    return str(named)


def _changes(sites: Sequence[str], facts: "Facts") -> list[str]:
    """Return what must be changed of the contrast for it to be about the mask."""
    import json

    changes = [f"read.sites={json.dumps(list(sites), ensure_ascii=False)}", "ablate.percent=null"]
    pool = (facts.get("read") or {}).get("pool")
    return [*changes, "read.pool=none"] if pool == "none" else changes
