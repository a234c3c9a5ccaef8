"""Options that several commands share, and the values made from them."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deeploc.cli import _completion
from deeploc.cli._listed import Listed
from deeploc.cli._tasks import with_tasks

if TYPE_CHECKING:
    from deeploc.contrast.model import Contrast
    from deeploc.core.adapter import ModelOptions
    from deeploc.runs.setup import Setup

Command = TypeVar("Command", bound=Callable[..., Any])


class BatchSize(click.ParamType[int | None]):
    """``auto`` or a whole number of stimuli."""

    name = "auto|N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the number, or None for ``auto``."""
        if value in (None, "auto"):
            return None
        if not str(value).isdecimal() or int(value) == 0:
            self.fail(f"{value!r} is neither 'auto' nor a positive whole number", param, ctx)
        return int(value)


def _stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model = click.option(
    "-m",
    "--model",
    required=True,
    metavar="ADAPTER:NAME",
    shell_complete=_completion.models,
    help="The model, e.g. hf:gpt2 or reference:lm.",
)
output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="RUN", help="The run folder."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no messages.")
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="A row for every condition in the printed tables."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
strict = click.option("--strict", is_flag=True, help="Stop at the first unreadable image.")


def _use_plugins(_: click.Context, __: click.Parameter, paths: Sequence[Path]) -> None:
    if paths:  # before any other option is used: a contrast may name what they offer
        from deeploc.plugins import use

        use(paths)


plugins = click.option(
    "--plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE.py",
    is_eager=True,
    expose_value=False,
    callback=_use_plugins,
    help="Use the plugins that this file declares; repeatable.",
)

hardware = _stack(
    plugins,
    click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        help="auto: float32 on the CPU, the dtype of the checkpoint elsewhere.",
    ),
    click.option(
        "--batch-size",
        type=BatchSize(),
        default="auto",
        help="Maximum number of stimuli per forward pass.",
    ),
    click.option(
        "--device-map",
        metavar="auto|FILE",
        help="Spread the model over devices and the disk by accelerate: auto, or a JSON file.",
    ),
)

checkpoint = _stack(
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a model on the hub."),
    click.option(
        "--trust-remote-code", is_flag=True, help="Run the Python code that a checkpoint contains."
    ),
)

weights = click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Load this state dict into a timm or torchvision architecture.",
)

experiment = _stack(
    hardware,
    checkpoint,
    weights,
    click.option(
        "--untrained", is_flag=True, help="Random weights, sampled with --seed, as a control."
    ),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the whole run."),
    click.option(
        "--limit",
        type=click.IntRange(min=2),
        help="Maximum number of stimuli per condition, and of items per condition of a task.",
    ),
    click.option(
        "--stimuli",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Read the stimuli from this folder.",
    ),
    strict,
    click.option(
        "--overwrite", is_flag=True, help="Replace a run with other inputs in the run folder."
    ),
    click.option(
        "--sites",
        multiple=True,
        metavar="KIND",
        shell_complete=_completion.kinds,
        help="Kind of site, path or glob; repeatable.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change the contrast, e.g. --set read.pool=mean; repeatable.",
    ),
)

doses = _stack(
    click.option(
        "--percent",
        type=click.FloatRange(0, 100),
        multiple=True,
        help="Dose in % of the units of a kind; repeatable.",
    ),
    click.option(
        "--mode",
        multiple=True,
        help="Ablation: zero, mean, resample, noise, scale:G or add[:G]; repeatable.",
    ),
    click.option(
        "--controls", type=click.IntRange(min=0), help="Number of matched random controls."
    ),
)

ablation = _stack(
    doses,
    click.option(
        "--task",
        "tasks",
        multiple=True,
        metavar="NAME[=FILE]",
        help="Only these tasks, with the options that the contrast gives them; repeatable.",
    ),
)


exports = _stack(
    click.option(
        "--figures", type=Listed("svg", "png"), default=(), help="Write RUN/figures as well."
    ),
    click.option(
        "--tables", type=Listed("csv", "parquet"), default=(), help="Write RUN/tables as well."
    ),
)


def overrides_of(
    *,
    overrides: Sequence[str] = (),
    sites: Sequence[str] = (),
    percent: Sequence[float] = (),
    mode: Sequence[str] = (),
    controls: int | None = None,
) -> list[str]:
    """Return every option that changes the contrast as ``KEY=VALUE``, --set last.

    Parameters
    ----------
    overrides
        Values of --set.
    sites, percent, mode, controls
        Values of the options of these names; empty or None where they were not given.
    """
    from deeploc.contrast.source_fields import as_text

    changes = {
        "read.sites": list(sites),
        "ablate.percent": list(percent),
        "ablate.mode": list(mode),
        "ablate.controls.random": controls,
    }
    given = {key: value for key, value in changes.items() if value not in (None, [])}
    return [f"{key}={as_text(value)}" for key, value in given.items()] + list(overrides)


def hardware_of(options: Mapping[str, Any], **more: Any) -> "ModelOptions":
    """Return the options of the model: device, dtype, weights and so on.

    Parameters
    ----------
    options
        Every option of a command; those that are no model options are ignored.
    more
        Further options, which override those of the same name.
    """
    from dataclasses import fields

    from deeploc.core.adapter import ModelOptions

    names = {field.name for field in fields(ModelOptions)}
    return ModelOptions(**{k: v for k, v in {**options, **more}.items() if k in names})


def resolve(
    contrast: str, address: str, output: Path | None, options: Mapping[str, Any]
) -> tuple["Contrast", "Setup", Path]:
    """Return the contrast with its changes, the setup, and the run folder of a command.

    Parameters
    ----------
    contrast
        A shipped name, or a path ending in ``.yaml``.
    address
        The model, ``ADAPTER:NAME``.
    output
        The run folder; None for the default one.
    options
        Every other option of the command.

    Raises
    ------
    DeeplocError
        If the contrast cannot be read or an option does not fit it.
    """
    from deeploc.contrast.model import load
    from deeploc.runs.setup import Setup, default_folder

    names = ("overrides", "sites", "percent", "mode", "controls")
    changes = overrides_of(**{name: options[name] for name in names if name in options})
    loaded = with_tasks(load(contrast, changes), options.get("tasks", ()))
    command = shlex.join(["deeploc", *sys.argv[1:]])
    sampling = (options["limit"], options["stimuli"], command, options["strict"])
    setup = Setup(address, hardware_of(options), *sampling)
    return loaded, setup, output or default_folder(loaded.name, setup, changes)
