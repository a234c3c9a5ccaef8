"""``deeploc push``."""

from pathlib import Path

import click

from deeploc.cli import _completion


@click.command("push")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@click.argument("address", metavar="hf://USER/NAME")
@click.option("--private", is_flag=True, help="If the repository is made, nobody else sees it.")
def command(run: Path, address: str, private: bool) -> None:
    """Put the selected units of a run on the Hugging Face hub.

    The repository is made if it does not exist; many runs can lie in one. The units go there with
    the answers of the verdict and with what they were found in and by, no stimuli. `deeploc import`
    reads them back, on any machine. `hf auth login` logs in.
    """
    from deeploc.sharing import parse, push

    click.echo(push(run, parse(address), private=private))
