"""Examples of a run: what its model says to a few held-out inputs, intact and edited."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

from deeploc.analysis.demonstration import most_probable
from deeploc.analysis.states import Dose, LocalizedModel, states_of
from deeploc.contrast.model import Contrast
from deeploc.contrast.shown import MOST_PROMPTS
from deeploc.core.adapter import Adapter, Classifies, Generates, Sampling
from deeploc.core.adapter_plugins import continued, edited
from deeploc.core.examples import Examples, Given, Output, State
from deeploc.core.pictures import pictures_of
from deeploc.progress import OnProgress
from deeploc.stimuli import Stimulus
from deeploc.stimuli.thumbnail import thumbnail

MAX_TOKENS = 24
"""Length of a continuation."""

PER_SIDE = 2
"""Texts of each side of the comparison."""

MOST_WORDS = 40
"""Most words of a prompt that is the beginning of a stimulus."""

Chosen = Sequence[tuple[str, Stimulus]]
"""The condition of every input, and what the model is given; empty: a prompt of the file."""


def chosen_inputs(contrast: Contrast, held_out: Mapping[str, Sequence[Stimulus]]) -> Chosen:
    """Return what the model is given: at most `MOST_PROMPTS` inputs, none where nobody wants them.

    Texts are the prompts of the contrast file, else the beginnings (the first half of the words)
    of `PER_SIDE` held-out stimuli of each side of the comparison. Images are the first held-out one
    of each condition, those of the preferred side first.

    Parameters
    ----------
    contrast
        What is compared.
    held_out
        Condition -> the stimuli that did not localize.
    """
    wanted = contrast.examples
    if not wanted:
        return []
    if not isinstance(wanted, bool):
        return [("", Stimulus("", prompt)) for prompt in wanted.prompts]
    sides = contrast.comparison.positive, contrast.comparison.negative
    if contrast.modality == "image":
        others = set(held_out).difference(*sides)
        names = [*sides[0], *sides[1], *(name for name in held_out if name in others)]
        return [(name, held_out[name][0]) for name in names if held_out[name]][:MOST_PROMPTS]
    return [
        (name, Stimulus(stimulus.id, beginning(str(stimulus.content))))
        for side in sides
        for name, stimulus in _in_turn(side, held_out)[:PER_SIDE]
    ]


def _in_turn(
    names: Sequence[str], held_out: Mapping[str, Sequence[Stimulus]]
) -> list[tuple[str, Stimulus]]:
    """Return the first stimulus of every condition, then the second of each."""
    return [
        (name, held_out[name][number])
        for number in range(PER_SIDE)
        for name in names
        if number < len(held_out[name])
    ]


def beginning(text: str) -> str:
    """Return the first half of the words of a text, at least one, at most `MOST_WORDS`.

    Parameters
    ----------
    text
        Any text; the white space between its words stays.

    Examples
    --------
    >>> beginning("the old  dog sees"), beginning("dog")
    ('the old', 'dog')
    """
    words = list(re.finditer(r"\S+", text))
    n = min(max(len(words) // 2, 1), MOST_WORDS)
    return text[: words[n - 1].end()] if words else text


def make_examples(
    run: LocalizedModel, chosen: Chosen, mode: str, *, seed: int, on_progress: OnProgress
) -> Examples:
    """Return what the model says to every input, intact and edited at each kind of site.

    Parameters
    ----------
    run
        The model, with the selected units.
    chosen
        From `chosen_inputs`.
    mode
        The mode of ablation.
    seed
        Of the run.
    on_progress
        Called after every state of the model, see `n_steps`.

    Returns
    -------
    examples
        None of them where the model cannot do it.

    Raises
    ------
    DeeplocError
        If the model cannot take an input, e.g. a prompt that is longer than its context.
    """
    say = _speaker(run.adapter, [stimulus for _, stimulus in chosen])
    kinds = _kinds(run)
    if say is None or not kinds or (intact := say(State())) is None:
        return Examples()
    outputs = [intact]
    on_progress(1)
    for kind in kinds:
        for state, edit in states_of(run, Dose((mode,), kind=kind), seed).items():
            with edited(run.adapter, edit):
                outputs += filter(None, [say(state)])
            on_progress(1)
    return Examples(tuple(_given(run.adapter, *item) for item in chosen), tuple(outputs))


def n_steps(run: LocalizedModel) -> int:
    """Return how many states of the model `make_examples` shows, at most.

    Parameters
    ----------
    run
        The model, with the selected units.
    """
    return 1 + 3 * len(_kinds(run))


def _kinds(run: LocalizedModel) -> list[str]:
    return [kind for kind in run.mask.layout.kinds if len(run.mask.of_kind(kind))]


def _speaker(
    adapter: Adapter, stimuli: Sequence[Stimulus]
) -> Callable[[State], Output | None] | None:
    """Return a function that returns what the model says in the state that it is in.

    None where it neither continues texts nor classifies images; so is what the function returns for
    a network without classes.
    """
    if not stimuli:
        return None
    if isinstance(stimuli[0].content, str):
        if not isinstance(adapter, Generates):
            return None
        return lambda state: Output(state, _continuations(adapter, stimuli))
    if not isinstance(adapter, Classifies):
        return None

    def classify(state: State) -> Output | None:
        output = adapter.classify(stimuli)
        if not output.has_classes:
            return None
        return Output(state, guesses=tuple(most_probable(output, adapter)))

    return classify


def _continuations(adapter: Generates, stimuli: Sequence[Stimulus]) -> tuple[str, ...]:
    sampling, prompts = Sampling(MAX_TOKENS), [str(stimulus.content) for stimulus in stimuli]
    return tuple(continued(adapter, adapter.generate(prompt, sampling)) for prompt in prompts)


def _given(adapter: Adapter, condition: str, stimulus: Stimulus) -> Given:
    content = stimulus.content
    if isinstance(content, str):
        return Given(condition, stimulus.id, prompt=content)
    (pixels,) = pictures_of(adapter, [stimulus])
    picture = b64encode(thumbnail(pixels)).decode()
    return Given(condition, stimulus.id, thumbnail=picture)
