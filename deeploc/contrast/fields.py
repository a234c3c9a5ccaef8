"""The parts of a contrast file: names, tasks, and how it is read, selected and ablated."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from deeploc.contrast.validation import (
    Flag,
    Number,
    Percent,
    StrictModel,
    Text,
    Texts,
    Whole,
    as_list,
)
from deeploc.errors import nearest

_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"


def _is_mode(mode: str) -> str:
    name, _, gain = mode.partition(":")
    if mode in ("zero", "mean") or (name == "scale" and re.fullmatch(_NUMBER, gain)):
        return mode
    raise ValueError(
        f"{mode!r} is no way to ablate; {nearest(mode, ['zero', 'mean', 'scale:0.5'])}"
        "there are zero, mean and scale:G, e.g. scale:0.5"
    )


def _rises(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= bounds[0] < bounds[1] <= 100:
        raise ValueError(
            f"{list(bounds)} is no range; percentiles are [LOW, HIGH] with 0 <= LOW < HIGH <= 100"
        )
    return bounds


Share = Annotated[Number, Field(ge=0, le=100)]
Range = Annotated[tuple[Share, Share], AfterValidator(_rises)]
Mode = Annotated[
    str,
    AfterValidator(_is_mode),
    WithJsonSchema(
        {"anyOf": [{"enum": ["zero", "mean"]}, {"type": "string", "pattern": f"^scale:{_NUMBER}$"}]}
    ),
]
_Modes = Annotated[tuple[Mode, ...], Field(min_length=1)]
Modes = Annotated[_Modes, BeforeValidator(as_list, json_schema_input_type=Mode | _Modes)]
_Percents = Annotated[tuple[Percent, ...], Field(min_length=1)]
Percents = Annotated[
    _Percents, BeforeValidator(as_list, json_schema_input_type=Percent | _Percents)
]
Count = Annotated[Whole, Field(ge=0)]

PAPER_SEED = 42
"""Draws from a percentile range as ``localize.py`` of BKHMSI/llm-localization does."""


class Read(StrictModel):
    """How a model's answer to a stimulus becomes one number per unit.

    ``sites`` are kinds or globs over site names (``"*"``: every site of every kind). ``pool`` is
    ``last`` for texts and ``mean`` for images unless said otherwise. ``tokens: content`` never
    reads special tokens, and its ``last`` is the last token that ends a word; ``all`` reads every
    attended token. ``max_tokens`` truncates (``None``: at the model's own context length);
    ``lowercase`` is applied when the stimuli are loaded.
    """

    sites: Texts = ("block",)
    """Kinds of site (block, mlp-neurons, attention, conv) or globs over their names."""
    pool: Literal["last", "mean", "max", "cls", "none"] = "last"
    """How positions become one number: last token, mean, max, class token, or none of it."""
    response: Literal["abs", "signed"] = "signed"
    """Whether activations count as they are, or by their absolute value as in the paper."""
    tokens: Literal["content", "all"] = "content"
    """``content`` never reads special tokens and ends at a word's end; ``all`` takes every one."""
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    """Cut texts off after so many tokens; null: at the model's own context length."""
    lowercase: Flag = False
    """Lower-case texts when they are loaded."""


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


class Select(StrictModel):
    """Which units are the network: exactly one of k, percent, fdr, percentile; else the top 1 %.

    ``percent`` counts from the end of the ranking that ``tail`` names. Beside ``percentile`` it
    says how many of all units to draw, with ``seed``, from between the two percentiles of t.
    """

    model_config = ConfigDict(json_schema_extra={"not": {"anyOf": _EXCLUSIVE}})

    k: Annotated[Whole, Field(ge=1)] | None = None
    """So many units, those with the largest t."""
    percent: Percent | None = None
    """So many per cent of the units of each kind of site."""
    fdr: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Every unit with t > 0 and a Benjamini-Hochberg q of at most this."""
    percentile: Range | None = None
    """The units between two percentiles of t, [LOW, HIGH]."""
    tail: Literal["top", "bottom"] = "top"
    """The end of the ranking that ``percent`` counts from."""
    seed: Count = PAPER_SEED
    """Draws ``percent`` of all units from within ``percentile``."""

    @model_validator(mode="before")
    @classmethod
    def _top_percent_unless_said(cls, data: Any) -> Any:
        rules = ("k", "percent", "fdr", "percentile")
        if isinstance(data, Mapping) and all(data.get(rule) is None for rule in rules):
            return {**data, "percent": 1.0}
        return data

    @model_validator(mode="after")
    def _one_rule(self) -> "Select":
        rules = [rule for rule in ("k", "fdr", "percentile") if getattr(self, rule) is not None]
        plain_percent = self.percent is not None and self.percentile is None
        rules += ["percent"] if plain_percent else []
        if len(rules) > 1:
            raise ValueError(
                f"exactly one of k, percent, fdr, percentile; this has {' and '.join(rules)}; "
                "keep one (--set replaces the whole of it by select={k: 100})"
            )
        if self.tail == "bottom" and not plain_percent:
            raise ValueError(f"tail goes with percent, not with {rules[0]}; leave it out")
        if self.seed != PAPER_SEED and (self.percentile is None or self.percent is None):
            raise ValueError("seed draws a percent of units from a percentile range; leave it out")
        return self


class Controls(StrictModel):
    """The masks that an ablation is held against.

    ``random``: so many masks matched per site; ``random-global``: so many matched in total, as
    in the paper; ``bottom``: the units with the smallest t; ``range``: drawn from between two
    percentiles of t.
    """

    random: Count = 20
    """So many random masks with as many units in every site; below 20 nothing can be specific."""
    random_global: Annotated[Count, Field(alias="random-global")] = 0
    """So many random masks matched in their total only, the control of the paper."""
    bottom: Flag = False
    """Also the units with the smallest t."""
    range: Range | None = None
    """Also units drawn from between two percentiles of t."""


class Ablate(StrictModel):
    """What is done to the units, and at which doses (``None``: the selected units themselves).

    A dose is a percentage of the units at sites of one kind, from the top of the ranking by t.
    """

    mode: Modes = ("zero",)
    """zero, mean (each unit's own), scale:G (times G); one or several."""
    percent: Percents | None = None
    """Doses, in per cent of the units of each kind of site; null: the selected units."""
    controls: Controls = Controls()
    """The masks that the ablation is held against."""


def is_name(name: str) -> str:
    """Return ``name`` if it may be that of a contrast or a condition.

    Raises
    ------
    ValueError
        If it has other characters than letters, digits, ``_`` and ``-``.
    """
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"{name!r} is no name; use letters, digits, '_' and '-', "
            f"e.g. {re.sub(r'[^a-zA-Z0-9_-]+', '-', name).strip('-') or 'faces'!r}"
        )
    return name


def _is_task(entry: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    if isinstance(entry, str):
        return entry
    if len(entry) != 1:
        raise ValueError(
            f"a task is its name, or one name with its options below it; this has "
            f"{', '.join(entry) or 'nothing'}; start each task with a dash of its own"
        )
    ((name, options),) = entry.items()
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"the options of task {name!r} must be a mapping, `key: value`")
    return entry


def _form(value: Any) -> str:
    return "(mapping)" if isinstance(value, Mapping) else "(text)"


# Editors read patterns as JavaScript does, whose \w knows no letter beyond ASCII: so this says
# which characters are none of a name's.
_NOT_IN_NAMES = r"\s!-,./:-@[-^`{-~"
_NAME = f"^[^{_NOT_IN_NAMES}-][^{_NOT_IN_NAMES}]*$"
Name = Annotated[str, AfterValidator(is_name), WithJsonSchema({"type": "string", "pattern": _NAME})]
_Sides = Annotated[Text, WithJsonSchema({"type": "string", "pattern": "^[^>]+>[^>]+$"})]
Said = Annotated[
    Annotated[_Sides, Tag("(text)")] | Annotated[Mapping[str, Number], Tag("(mapping)")],
    Discriminator(_form),
]
_Options = Annotated[
    Mapping[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["object", "null"]},
            "minProperties": 1,
            "maxProperties": 1,
        }
    ),
]
Entry = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[_Options, Tag("(mapping)")],
    Discriminator(_form),
    AfterValidator(_is_task),
]
_Entries = tuple[Entry, ...]
Entries = Annotated[_Entries, BeforeValidator(as_list, json_schema_input_type=Text | _Entries)]
