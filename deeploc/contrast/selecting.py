"""The part of a contrast file that says which units are the network."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

from deeploc.contrast.fields import Range
from deeploc.contrast.validation import Number, Percent, Seed, StrictModel, Text, Whole

Correction = Literal["benjamini-hochberg", "benjamini-yekutieli"]
"""How p becomes q."""

By = Literal["contrast", "attribution", "gradient"]
"""What units are ranked by."""

OF_CONTRAST = "contrast"
"""The value of ``of`` that means the contrast itself, not a task."""

MAX_STEPS = 1_000
"""Most steps of integrated gradients: each is a forward and a backward pass per site."""

_RANKING = ("by", "of", "steps", "baseline")
"""The keys that say by what units are ranked."""

PAPER_SEED = 42
"""Samples a percentile range as ``localize.py`` of BKHMSI/llm-localization (ff6d4f9) does."""

_RULES = [
    ("k", "percent"),
    ("k", "fdr"),
    ("k", "percentile"),
    ("percent", "fdr"),
    ("fdr", "percentile"),
]
_EXCLUSIVE: list[Any] = [
    {"required": list(pair), "properties": {rule: {"not": {"type": "null"}} for rule in pair}}
    for pair in _RULES
]
_NEED_P: list[Any] = [
    {
        "required": ["by", rule],
        "properties": {"by": {"not": {"const": "contrast"}}, rule: {"not": {"type": "null"}}},
    }
    for rule in ("fdr", "percentile")
]


class Select(StrictModel):
    """Which units are the network: one of k, percent, fdr, percentile; default: the top 1 %.

    ``percent`` counts from the end of the ranking that ``tail`` names. Beside ``percentile`` it
    is the share of all units that is sampled, with ``seed``, between the two percentiles of t.

    ``by`` says what the units are ranked by: ``contrast``, its statistic; ``attribution``, what
    ablating the unit alone adds to a loss by its first derivative (activation x gradient);
    ``gradient``, the mean absolute gradient. The loss is that of ``of``.
    """

    model_config = ConfigDict(json_schema_extra={"not": {"anyOf": [*_EXCLUSIVE, *_NEED_P]}})

    k: Annotated[Whole, Field(ge=1)] | None = None
    """The number of units, those with the largest t."""
    percent: Percent | None = None
    """The share of the units of each kind of site, in per cent."""
    fdr: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Every unit with t > 0 and a q of at most this."""
    correction: Correction = "benjamini-hochberg"
    """Beside fdr: how p becomes q; benjamini-yekutieli holds under any dependence of the units."""
    percentile: Range | None = None
    """The units between two percentiles of t, [LOW, HIGH]."""
    tail: Literal["top", "bottom"] = "top"
    """The end of the ranking that ``percent`` counts from."""
    seed: Seed = PAPER_SEED
    """Decides which ``percent`` of all units are sampled within ``percentile``."""
    by: By = "contrast"
    """What units are ranked by: the statistic of the contrast, or the gradient of a loss."""
    of: Text = OF_CONTRAST
    """Beside by: attribution or gradient: ``contrast``, the mean loss of its positive side minus
    that of its negative side, or a task of the contrast, whose loss it is."""
    steps: Annotated[Whole, Field(ge=1, le=MAX_STEPS)] | None = None
    """Beside by: attribution or gradient: the number of steps of integrated gradients; null: the
    gradient at the intact activations."""
    baseline: Literal["zero", "mean"] = "zero"
    """Beside by: attribution or gradient: what would be put in place of the activations."""

    @model_validator(mode="before")
    @classmethod
    def _default_to_top_percent(cls, data: Any) -> Any:
        rules = ("k", "percent", "fdr", "percentile")
        if isinstance(data, Mapping) and all(data.get(rule) is None for rule in rules):
            return {**data, "percent": 1.0}
        return data

    @model_validator(mode="after")
    def _check_one_rule(self) -> "Select":
        rules = [rule for rule in ("k", "fdr", "percentile") if getattr(self, rule) is not None]
        plain_percent = self.percent is not None and self.percentile is None
        rules += ["percent"] if plain_percent else []
        if len(rules) > 1:
            raise ValueError(
                f"exactly one of k, percent, fdr, percentile; this has {' and '.join(rules)}; "
                "keep one (--set select={k: 100} replaces all of them)"
            )
        if self.tail == "bottom" and not plain_percent:
            raise ValueError(f"tail goes with percent, not with {rules[0]}; leave it out")
        if self.correction != "benjamini-hochberg" and self.fdr is None:
            raise ValueError(f"correction goes with fdr, not with {rules[0]}; leave it out")
        self._check_ranking(rules[0])
        if self.seed != PAPER_SEED and (self.percentile is None or self.percent is None):
            raise ValueError("seed is for a percent of units in a percentile range; leave it out")
        return self

    def _check_ranking(self, rule: str) -> None:
        if self.by == "contrast":
            for key in _RANKING[1:]:
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(
                        f"{key} goes with `by: attribution` or `by: gradient`; leave it out, or "
                        "name one of them"
                    )
        elif rule in ("fdr", "percentile"):
            raise ValueError(
                f"{rule} needs the statistic of the contrast, which `by: {self.by}` does not rank "
                "by; write percent or k, or `by: contrast`"
            )

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: Callable[[Any], Any]) -> dict[str, Any]:
        """Leave out the ranking where it is the statistic, as in runs from before there was any."""
        dumped: dict[str, Any] = dump(self)
        if self.by != "contrast":
            return dumped
        return {key: value for key, value in dumped.items() if key not in _RANKING}
