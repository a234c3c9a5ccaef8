"""The ``verdict:`` of a contrast file: which outcome decides, and what it is compared with."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from deeploc.contrast.fields import MAX_CONTROLS
from deeploc.contrast.validation import Flag, Percent, StrictModel, Text, Whole, as_list

DEFAULT_CONTROLS = 199
"""With as many matched random sets p can reach 1 / 200 = 0.005."""


def parts_of(outcome: str) -> tuple[str, ...]:
    """Return task, metric and condition of an outcome as far as it names them.

    Parameters
    ----------
    outcome
        ``TASK``, ``TASK/METRIC`` or ``TASK/METRIC/CONDITION``; a condition may hold slashes.

    Examples
    --------
    >>> parts_of("minimal-pairs/accuracy/grammar/tense")
    ('minimal-pairs', 'accuracy', 'grammar/tense')
    """
    return tuple(outcome.split("/", 2))


def _check_outcome(outcome: str) -> str:
    if all(parts_of(outcome)):
        return outcome
    raise ValueError(
        f"{outcome[:60]!r} is no outcome; write TASK, TASK/METRIC or TASK/METRIC/CONDITION, e.g. "
        "perplexity/perplexity/sentences"
    )


OutcomeText = Annotated[
    Text,
    AfterValidator(_check_outcome),
    WithJsonSchema({"type": "string", "pattern": "^[^/]+(/[^/]+(/.+)?)?$"}),
]
_Outcomes = Annotated[tuple[OutcomeText, ...], Field(min_length=1)]
Outcomes = Annotated[
    _Outcomes, BeforeValidator(as_list, json_schema_input_type=OutcomeText | _Outcomes)
]


class Verdict(StrictModel):
    """What decides whether a network was found, written down before anything is measured.

    Outcomes are ``TASK/METRIC/CONDITION``; ``TASK`` stands for its first metric, and without a
    condition the first on the preferred side of the contrast is meant (in ``against`` every
    condition). See docs/verdict.md.
    """

    primary: OutcomeText | None = None
    """The outcome whose damage decides; null: the first task's."""
    against: Outcomes | None = None
    """The outcomes that must suffer less; null: those of conditions that are not preferred."""
    dose: Percent | None = None
    """How many per cent of the units of a kind are ablated; null: the selected units."""
    controls: Annotated[Whole, Field(ge=0, le=MAX_CONTROLS)] = DEFAULT_CONTROLS
    """At most so many matched random sets are ablated to judge the primary outcome."""
    untrained: Flag = True
    """Whether an untrained copy of the model is localized too; costs one localization more."""
