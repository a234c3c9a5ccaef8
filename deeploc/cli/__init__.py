"""The command line: one module per command; parse, call the library, print.

Nothing heavy is imported at the top of any of these modules, so that ``--help`` and completion
answer at once: every command imports what it needs when it runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from deeploc.cli import _completion  # noqa: F401 (tells click how bash breaks words)
from deeploc.errors import DeeplocError

_SECTIONS = {
    "Experiments": (
        *("run", "sweep", "localize", "evaluate", "lm-eval", "dissociate", "ablate", "report"),
    ),
    "Other rankings": ("parameters", "compare"),
    "Contrasts": ("contrasts", "new", "check", "schema"),
    "Models and plugins": ("sites", "plugins", "check-adapter", "doctor"),
    "Masks that travel": ("export", "import", "push"),
}
"""In the order of ``--help``; ``import`` lives in ``import_.py``, being a keyword."""

_COMMANDS = tuple(name for names in _SECTIONS.values() for name in names)


class Deeploc(click.Group):
    """Loads commands by name, and prints a `DeeplocError` as one line.

    So it prints what the code of a plugin raises. Any other exception is a bug and keeps its
    traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of ``--help``."""
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, one line each."""
        longest = max(map(len, _COMMANDS))
        width = formatter.width - 6 - longest
        for title, names in _SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(longest), command.get_short_help_str(width))
                        for name, command in commands
                        if command is not None
                    ]
                )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return None
        module = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        command: click.Command = import_module(f"deeploc.cli.{module}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        from deeploc.cli._colour import OneLineError, wanted
        from deeploc.entry_points import without_files

        ctx.color = wanted()
        try:
            with without_files(), _guarded():
                return super().invoke(ctx)
        except DeeplocError as error:
            raise OneLineError(str(error)) from error
        except KeyboardInterrupt:
            raise OneLineError(
                "interrupted; finished results are kept: the same command continues from them"
            ) from None


@contextmanager
def _guarded() -> Iterator[None]:
    """Turn an exception of a plugin's code into one line, wherever it was called."""
    from deeploc.entry_points import at_fault

    try:
        yield
    except (DeeplocError, MemoryError):
        raise
    except Exception as error:
        if plugin := at_fault(error):
            raise plugin.failed(error) from error
        raise


@click.group(
    cls=Deeploc,
    context_settings={"show_default": True, "auto_envvar_prefix": "DEEPLOC"},
)
@click.version_option(package_name="deeploc", prog_name="deeploc")
def main() -> None:
    """Find the units of a neural network that respond to a contrast, and test what they do.

    \b
      deeploc run language -m reference:lm  everything, offline, in a minute
      deeploc contrasts                     the shipped contrasts
      deeploc sites hf:gpt2                 where a model can be read and ablated
    """  # noqa: D301 (click needs the character itself)
