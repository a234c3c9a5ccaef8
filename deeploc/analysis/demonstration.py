"""Demonstrations: what a model says intact, ablated, amplified and under a control, for reading."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from scipy.special import softmax

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Adapter, Classifies, Generates, Predictions, Sampling
from deeploc.core.adapter_plugins import continued, edited, how_to_add
from deeploc.core.generation import HasGenerationSettings
from deeploc.core.matching import random_like
from deeploc.core.modes import Manner, Modes, manner
from deeploc.core.selection import top_percent
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import MaskError, TaskError
from deeploc.stimuli import Stimulus

Ability = TypeVar("Ability")
Output = TypeVar("Output")

N_GUESSES = 5
"""How many classes are returned for an image."""


@dataclass(frozen=True)
class Dose:
    """What to ablate, and how.

    Parameters
    ----------
    modes
        ``zero``, ``mean``, ``resample``, ``noise``, ``scale:G``, ``add`` or ``add:G``; one or
        several, each with a random control.
    percent
        How many per cent (0-100) of the units of a kind, from the top of the ranking; None for the
        selected units.
    kind
        The kind of site; None for the first one of the run.
    amplify
        A further mode, without a control: ``scale:G`` (G beyond 1 or -1), ``add`` or ``add:G``;
        None: none.

    Raises
    ------
    TaskError
        If ``amplify`` takes something away, or is no mode.
    """

    modes: tuple[str, ...] = ("zero",)
    percent: float | None = None
    kind: str | None = None
    amplify: str | None = "scale:3"

    def __post_init__(self) -> None:
        if self.amplify is not None and not _amplifies(self.amplify):
            raise TaskError(
                f"{self.amplify!r} does not amplify; modes that do are scale:G with G beyond 1 or "
                "-1, e.g. scale:3, add and add:G; none: nothing is amplified"
            )


@runtime_checkable
class LocalizedModel(Protocol):
    """A loaded model with the statistics of its units and the selected units."""

    @property
    def adapter(self) -> Adapter:
        """The model."""
        ...

    @property
    def stat_map(self) -> StatMap:
        """The statistics of its units."""
        ...

    @property
    def modes(self) -> Modes:
        """What the modes of ablation put in place."""
        ...

    @property
    def mask(self) -> UnitMask:
        """The selected units."""
        ...


@dataclass(frozen=True, slots=True)
class Guess:
    """One class for an image.

    Parameters
    ----------
    label
        The name of the class; its number where it has no name.
    probability
        The softmax of its logit, 0-1.
    """

    label: str
    probability: float


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
    return _under_each(run, dose, seed, lambda: _most_probable(model.classify([stimulus]), model))


def _require(run: LocalizedModel, ability: type[Ability], doing: str) -> Ability:
    if not isinstance(run.adapter, ability):
        model = run.adapter.identity.get("model", "this model")
        raise TaskError(
            f"{model} cannot {doing}: it lacks the ability {ability.__name__}; use --prompt with "
            f"a language model, --image with a classifier{how_to_add(run.adapter)}"
        )
    return run.adapter


def _under_each(
    run: LocalizedModel, dose: Dose, seed: int, compute: Callable[[], Output]
) -> dict[str, Output]:
    """Return what ``compute`` returns in every state of the model, by the state's name."""
    try:
        edits = _states(run, dose, seed)
    except ValueError as error:
        raise TaskError(str(error)) from None
    outputs = {"intact": compute()}
    for name, edit in edits.items():
        with edited(run.adapter, edit):
            outputs[name] = compute()
    return outputs


def _states(run: LocalizedModel, dose: Dose, seed: int) -> dict[str, Edit]:
    """Return the edits that are shown: each mode, what is amplified, each mode at random units."""
    mask, units = _mask(run, dose)
    control, edit = random_like(mask, (seed, 0)), run.modes.edit
    amplified = () if dose.amplify in (None, *dose.modes) else (str(dose.amplify),)
    edits = {m: edit(m, mask) for m in (*dose.modes, *amplified)}
    shown = {f"{_STATES[manner(m)]}: {units}, {m}": made for m, made in edits.items()}
    return shown | {f"control: random units, {m}": edit(m, control) for m in dose.modes}


_STATES: Mapping[Manner, str] = {
    "ablation": "ablated",
    "amplification": "amplified",
    "steering": "steered",
}


def _amplifies(mode: str) -> bool:
    """Return whether a mode adds to what units hold."""
    if mode == "add":
        return True
    name, _, gain = mode.partition(":")
    try:
        beyond = isfinite(float(gain)) and abs(float(gain)) > 1
        return (name == "add" and isfinite(float(gain))) or (name == "scale" and beyond)
    except ValueError:
        return False


def _most_probable(output: Predictions, model: Classifies) -> list[Guess]:
    (logits,) = output.logits.astype(np.float64)
    if not np.isfinite(logits).all():
        return []
    probabilities = softmax(logits)
    chosen = np.argsort(-logits, kind="stable")[:N_GUESSES].tolist()
    return [Guess(_name(model.classes, i), float(probabilities[i])) for i in chosen]


def _name(classes: Sequence[Sequence[str]], number: int) -> str:
    return classes[number][0] if classes and classes[number] else str(number)


def _mask(run: LocalizedModel, dose: Dose) -> tuple[UnitMask, str]:
    """Return the units that are edited, and a description of them."""
    kinds = run.mask.layout.kinds
    selected = [kind for kind in kinds if len(run.mask.of_kind(kind))]
    kind = dose.kind or next(iter(selected), kinds[0])
    if kind not in kinds:
        raise MaskError(f"this run has no sites of kind {kind!r}; it has {', '.join(kinds)}")
    if dose.percent is None:
        mask = run.mask.of_kind(kind)
    else:
        among = run.mask.layout.of_kind(kind)
        mask = top_percent(run.stat_map, dose.percent, among)
    if not len(mask):
        raise MaskError(f"no unit of {kind} to ablate at this dose; give a larger --percent")
    return mask, f"{len(mask)} units of {kind}"
