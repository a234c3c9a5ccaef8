"""What a model says intact, ablated and under a control: for reading, not for measuring."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from scipy.special import softmax

from deeploc.core import selection as select
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, Answers, Classifies, Generates, Sampling
from deeploc.core.controls import random_like
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import MaskError, TaskError
from deeploc.stimuli import Stimulus

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


@runtime_checkable
class Subject(Protocol):
    """A loaded model with the statistics of its units and those that were selected."""

    @property
    def adapter(self) -> Adapter:
        """The model."""
        ...

    @property
    def stat_map(self) -> StatMap:
        """The statistics of its units."""
        ...

    @property
    def mask(self) -> UnitMask:
        """The selected units."""
        ...


@dataclass(frozen=True, slots=True)
class Guess:
    """A class by its name (its number, where it has none) and its probability (0-1)."""

    label: str
    probability: float


def continuations(
    subject: Subject, prompt: str, dose: Dose, *, max_tokens: int, temperature: float, seed: int
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
    model = _able(subject, Generates, "continue a prompt")
    sampling = Sampling(max_tokens, temperature, seed)
    return _under_each(subject, dose, seed, lambda: model.generate(prompt, sampling))


def guesses(
    subject: Subject, stimulus: Stimulus, dose: Dose, *, seed: int
) -> dict[str, list[Guess]]:
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
    model = _able(subject, Classifies, "name what it is shown")
    return _under_each(subject, dose, seed, lambda: _likeliest(model.classify([stimulus]), model))


def _able(subject: Subject, ability: type[Ability], doing: str) -> Ability:
    if not isinstance(subject.adapter, ability):
        model = subject.adapter.identity.get("model", "this model")
        raise TaskError(
            f"{model} cannot {doing}: it lacks the ability {ability.__name__}; prompts are for "
            "language models, other stimuli for classifiers"
        )
    return subject.adapter


def _under_each(
    subject: Subject, dose: Dose, seed: int, ask: Callable[[], Answer]
) -> dict[str, Answer]:
    """Return what ``ask`` gives intact, ablated and under a control, each by its name."""
    mask, label = _mask(subject, dose)
    control = random_like(mask, (seed, 0))
    try:
        ablations = {
            f"ablated: {label}": Ablation.of(dose.mode, mask, subject.stat_map),
            "control: random": Ablation.of(dose.mode, control, subject.stat_map),
        }
    except ValueError as error:
        raise TaskError(str(error)) from None
    answers = {"intact": ask()}
    for name, ablation in ablations.items():
        with subject.adapter.ablated(ablation):
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


def _mask(subject: Subject, dose: Dose) -> tuple[UnitMask, str]:
    kind = dose.kind or subject.mask.layout.kinds[0]
    if kind not in subject.mask.layout.kinds:
        kinds = ", ".join(subject.mask.layout.kinds)
        raise MaskError(f"this run has no sites of kind {kind!r}; it has {kinds}")
    among = subject.mask.layout.of_kind(kind)
    if dose.percent is None:
        mask = subject.mask.of_kind(kind)
    else:
        mask = select.top_percent(subject.stat_map, dose.percent, among)
    if not len(mask):
        raise MaskError(f"no unit of {kind} to ablate at this dose; give a larger --percent")
    return mask, f"{len(mask)} units of {kind}, {dose.mode}"
