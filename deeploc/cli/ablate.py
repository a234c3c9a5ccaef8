"""``deeploc ablate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.analysis.states import Dose
    from deeploc.runs.run import Run


@click.command("ablate")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=_completion.runs)
@click.option("--prompt", help="The text to continue.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The image to classify.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    default=("zero",),
    show_default="zero",
    help="Ablation: zero, mean, resample, noise, scale:G or add[:G]; repeatable.",
)
@click.option(
    "--amplify",
    default="scale:3",
    show_default=True,
    metavar="MODE",
    help="What is shown as amplified: scale:G, add or add:G; none: nothing.",
)
@click.option(
    "--percent",
    type=click.FloatRange(0, 100),
    help="Dose in % of the units of a kind; without it, the selected units.",
)
@click.option("--sites", metavar="KIND", help="Kind of site; without it, the first of the run.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=40, help="Maximum length, with --prompt."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    help="0: always the most probable token; with --prompt.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of sampling and of the control.  [default: that of the run]",
)
@_options.hardware
@_options.as_json
def command(
    run: Path, prompt: str | None, image: Path | None, as_json: bool, **options: Any
) -> None:
    """Show a model's output intact, ablated, amplified and under a control.

    The output is the continuation of a prompt, or the most probable classes of an image. All of
    them share one seed; the control ablates as many random units at each site. Texts are what the
    model predicts: what its checkpoint says of beams, penalties and forced tokens is not followed.
    """
    _check(prompt, image)
    from deeploc.analysis.states import Dose
    from deeploc.cli._progress import Console
    from deeploc.experiment import open_run

    amplify = None if options["amplify"] == "none" else options["amplify"]
    dose = Dose(options["modes"], options["percent"], options["sites"], amplify)
    opened = open_run(run, _options.hardware_of({**options, "seed": 0}), Console())
    seed = opened.setup.seed if options["seed"] is None else options["seed"]
    if image is not None:
        _classify(opened, image, dose, seed, as_json)
    elif prompt is not None:
        sampling = {name: options[name] for name in ("max_tokens", "temperature")} | {"seed": seed}
        _continue(opened, prompt, dose, sampling, as_json)


def _check(prompt: str | None, image: Path | None) -> None:
    if (prompt is None) == (image is None):
        raise click.UsageError("give exactly one of --prompt TEXT and --image FILE")
    source_of = click.get_current_context().get_parameter_source
    for option in ("max_tokens", "temperature"):
        if image is not None and source_of(option) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"--{option.replace('_', '-')} is for --prompt; an image is only classified"
            )


def _continue(
    run: "Run", prompt: str, dose: "Dose", sampling: dict[str, Any], as_json: bool
) -> None:
    from deeploc.analysis.demonstration import continuations, settings_not_followed
    from deeploc.cli._console import print_columns, print_json

    texts = continuations(run, prompt, dose, **sampling)
    ignored = settings_not_followed(run, **sampling)
    if as_json:
        print_json({"prompt": prompt, "continuations": texts, "not_followed": ignored})
        return
    if ignored:
        named = ", ".join(f"{name} {_short(value)}" for name, value in ignored.items())
        click.echo(f"not followed of the checkpoint's generation_config: {named}", err=True)
    print_columns(texts)


def _short(value: Any) -> str:
    """Return a setting as text, of a long list its beginning."""
    if isinstance(value, (list, tuple)) and len(value) > 4:
        return f"[{', '.join(map(str, value[:3]))}, … {len(value)} in all]"
    return str(value)


def _classify(run: "Run", image: Path, dose: "Dose", seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from deeploc.analysis.demonstration import guesses
    from deeploc.cli._console import print_guesses, print_json
    from deeploc.stimuli import Stimulus

    named = guesses(run, Stimulus(image.name, image.absolute()), dose, seed=seed)
    if as_json:
        plain = {name: [asdict(guess) for guess in best] for name, best in named.items()}
        print_json({"image": str(image), "guesses": plain})
    else:
        print_guesses(named)
