"""Demonstrations: what a model says intact, ablated, amplified and under a control, for reading."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy.special import softmax

from deeploc.analysis.states import Dose, LocalizedModel, states_of
from deeploc.core.adapter import Classifies, Generates, Predictions, Sampling
from deeploc.core.adapter_plugins import continued, edited, how_to_add
from deeploc.core.examples import Guess, State
from deeploc.core.generation import HasGenerationSettings
from deeploc.core.units import Vector
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

Ability = TypeVar("Ability")
Result = TypeVar("Result")

N_GUESSES = 5
"""How many classes are returned for an image."""


def continuations(
    run: LocalizedModel, prompt: str, dose: Dose, *, max_tokens: int, temperature: float, seed: int
) -> dict[str, str]:
    """Return continuations of a prompt: intact, ablated, amplified, under matched random controls.

    Parameters
    ----------
    run
        The model.
    prompt
        The text to continue.
    dose
        The units to ablate, and how.
    max_tokens
        Maximum length of a continuation.
    temperature
        Of sampling; 0 always takes the most probable token.
    seed
        Of sampling, the same for all states, and of the controls.

    Returns
    -------
    dict
        Name of the state of the model -> continuation.

    Raises
    ------
    TaskError
        If the model cannot generate text, or the mode is unknown.
    MaskError
        If the run has no such kind of site, or the dose contains no unit.
    """
    model = _require(run, Generates, "continue a prompt")
    sampling = Sampling(max_tokens, temperature, seed)

    def generate() -> str:
        return continued(run.adapter, model.generate(prompt, sampling))

    return _under_each(run, dose, seed, generate)


def settings_not_followed(
    run: LocalizedModel, *, max_tokens: int, temperature: float, seed: int
) -> dict[str, Any]:
    """Return what the checkpoint says of generation and `continuations` does not do.

    Parameters
    ----------
    run
        The model.
    max_tokens, temperature, seed
        As for `continuations`.

    Returns
    -------
    dict
        Name of the setting -> its value in the checkpoint; empty where all is done, or nothing is
        known of it.
    """
    if not isinstance(run.adapter, HasGenerationSettings):
        return {}
    return dict(run.adapter.generation_settings(Sampling(max_tokens, temperature, seed)))


def guesses(
    run: LocalizedModel, stimulus: Stimulus, dose: Dose, *, seed: int
) -> dict[str, list[Guess]]:
    """Return the most probable classes of an image: intact, ablated, amplified, under controls.

    Parameters
    ----------
    run
        The model.
    stimulus
        The image.
    dose
        The units to ablate, and how.
    seed
        Of the controls.

    Returns
    -------
    dict
        Name of the state of the model -> `N_GUESSES` classes by decreasing probability; empty
        where the logits are not finite.

    Raises
    ------
    TaskError
        If the model cannot classify, or the mode is unknown.
    MaskError
        If the run has no such kind of site, or the dose contains no unit.
    """
    model = _require(run, Classifies, "classify an image")

    def classify() -> list[Guess]:
        (best,) = most_probable(model.classify([stimulus]), model)
        return list(best)

    return _under_each(run, dose, seed, classify)


def _require(run: LocalizedModel, ability: type[Ability], doing: str) -> Ability:
    if not isinstance(run.adapter, ability):
        model = run.adapter.identity.get("model", "this model")
        raise TaskError(
            f"{model} cannot {doing}: it lacks the ability {ability.__name__}; use --prompt with "
            f"a language model, --image with a classifier{how_to_add(run.adapter)}"
        )
    return run.adapter


def _under_each(
    run: LocalizedModel, dose: Dose, seed: int, compute: Callable[[], Result]
) -> dict[str, Result]:
    """Return what ``compute`` returns in every state of the model, by the state's name."""
    edits = states_of(run, dose, seed)
    results = {"intact": compute()}
    for state, edit in edits.items():
        with edited(run.adapter, edit):
            results[_title(state)] = compute()
    return results


def _title(state: State) -> str:
    if state.name == "random":
        return f"control: random units, {state.mode}"
    return f"{state.name}: {state.n_units} units of {state.sites}, {state.mode}"


def most_probable(output: Predictions, model: Classifies) -> list[tuple[Guess, ...]]:
    """Return the `N_GUESSES` most probable classes of every image, the most probable first.

    Parameters
    ----------
    output
        What the model predicts.
    model
        It has the names of the classes.

    Returns
    -------
    list
        One tuple per image, empty where its logits are not finite.

    Raises
    ------
    AdapterError
        If the network has no classes.
    """
    return [_best(row, model.classes) for row in output.logits.astype(np.float64)]


def _best(logits: Vector, classes: Sequence[Sequence[str]]) -> tuple[Guess, ...]:
    if not np.isfinite(logits).all():
        return ()
    probabilities = softmax(logits)
    chosen = np.argsort(-logits, kind="stable")[:N_GUESSES].tolist()
    return tuple(Guess(_name(classes, i), float(probabilities[i])) for i in chosen)


def _name(classes: Sequence[Sequence[str]], number: int) -> str:
    return classes[number][0] if classes and classes[number] else str(number)
