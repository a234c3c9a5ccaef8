"""What a model says intact, ablated and under a control: for reading, not for measuring."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import softmax

from deeploc import select
from deeploc.ablation import Ablation
from deeploc.adapter import Answers, Classifies, Generates, Sampling
from deeploc.errors import MaskError, TaskError
from deeploc.experiment import Run
from deeploc.stimuli import Stimulus
from deeploc.units import UnitMask

Ability = TypeVar("Ability")
Answer = TypeVar("Answer")

N_GUESSES = 5


@dataclass(frozen=True)
class Dose:
    """What to ablate: ``percent`` (0-100) of the sites of one kind, or the run's own selection.

    Without ``kind`` it is the first kind of site that the run has.
    """

    mode: str = "zero"
    percent: float | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """A class by its name (its number, where it has none) and its probability (0-1)."""

    label: str
    probability: float


def continuations(
    run: Run, prompt: str, dose: Dose, *, max_tokens: int, temperature: float, seed: int
) -> dict[str, str]:
    """Return how the model continues ``prompt``: intact, ablated, under a matched random control.

    The three are sampled with the same ``seed``, which also draws the control.

    Raises
    ------
    TaskError
        If the model cannot generate text, or there is no such mode.
    MaskError
        If the run has no such kind of site or the dose holds no unit.
    """
    model = _able(run, Generates, "continue a prompt")
    sampling = Sampling(max_tokens, temperature, seed)
    return _under_each(run, dose, seed, lambda: model.generate(prompt, sampling))


def guesses(run: Run, stimulus: Stimulus, dose: Dose, *, seed: int) -> dict[str, list[Guess]]:
    """Return what the model takes ``stimulus`` for: intact, ablated, under a matched control.

    Each time the `N_GUESSES` most probable classes, the likeliest first; none where the logits
    of a broken model are not finite. ``seed`` draws the control.

    Raises
    ------
    TaskError
        If the model does not classify, or there is no such mode.
    MaskError
        If the run has no such kind of site or the dose holds no unit.
    """
    model = _able(run, Classifies, "name what it is shown")
    return _under_each(run, dose, seed, lambda: _likeliest(model.classify([stimulus]), model))


def _able(run: Run, ability: type[Ability], doing: str) -> Ability:
    if not isinstance(run.adapter, ability):
        model = run.adapter.identity.get("model", "this model")
        raise TaskError(
            f"{model} cannot {doing}: it lacks the ability {ability.__name__}; prompts are for "
            "language models, other stimuli for classifiers"
        )
    return run.adapter


def _under_each(run: Run, dose: Dose, seed: int, ask: Callable[[], Answer]) -> dict[str, Answer]:
    """Return what ``ask`` gives intact, ablated and under a control, each by its name."""
    mask, label = _mask(run, dose)
    control = select.random_like(mask, (seed, 0))
    try:
        ablations = {
            f"ablated: {label}": Ablation.of(dose.mode, mask, run.stat_map),
            "control: random": Ablation.of(dose.mode, control, run.stat_map),
        }
    except ValueError as error:
        raise TaskError(str(error)) from None
    answers = {"intact": ask()}
    for name, ablation in ablations.items():
        with run.adapter.ablated(ablation):
            answers[name] = ask()
    return answers


def _likeliest(answers: Answers, model: Classifies) -> list[Guess]:
    (logits,) = answers.logits.astype(np.float64)
    if not np.isfinite(logits).all():
        return []
    probabilities = softmax(logits)
    chosen = np.argsort(-logits, kind="stable")[:N_GUESSES].tolist()
    return [Guess(_name(model.classes, i), float(probabilities[i])) for i in chosen]


def _name(classes: Sequence[Sequence[str]], number: int) -> str:
    return classes[number][0] if classes and classes[number] else str(number)


def _mask(run: Run, dose: Dose) -> tuple[UnitMask, str]:
    kind = dose.kind or run.mask.layout.kinds[0]
    if kind not in run.mask.layout.kinds:
        kinds = ", ".join(run.mask.layout.kinds)
        raise MaskError(f"this run has no sites of kind {kind!r}; it has {kinds}")
    among = run.mask.layout.of_kind(kind)
    if dose.percent is None:
        mask = run.mask.of_kind(kind)
    else:
        mask = select.top_percent(run.stat_map, dose.percent, among)
    if not len(mask):
        raise MaskError(f"no unit of {kind} to ablate at this dose; give a larger --percent")
    return mask, f"{len(mask)} units of {kind}, {dose.mode}"
