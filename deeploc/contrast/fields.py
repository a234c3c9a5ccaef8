"""The parts of a contrast file: names, tasks, and how it is read and ablated."""

import re
from collections.abc import Hashable, Mapping
from math import isfinite
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

from deeploc.contrast import plugin_names
from deeploc.contrast.validation import (
    MAPPING_TAG,
    TEXT_TAG,
    Flag,
    Number,
    Percent,
    StrictModel,
    Text,
    Whole,
    as_list,
)
from deeploc.errors import nearest

_NUMBER = r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"

MAX_CONTROLS = 10_000
"""Most masks of one random control."""


MODES = ("zero", "mean", "resample", "noise", "add")
"""The modes of ablation beside ``scale:G`` and ``add:G``."""

WITH_GAIN = ("scale", "add")
"""The modes that take a number G."""


def _meaning(mode: str) -> tuple[str, float]:
    """Return a mode that is written in one way only."""
    name, _, gain = {"zero": "scale:0", "add": "add:1"}.get(mode, mode).partition(":")
    return name, float(gain or 0)


def _check_mode(mode: str) -> str:
    name, _, gain = mode.partition(":")
    has_gain = name in WITH_GAIN and re.fullmatch(_NUMBER, gain) and isfinite(float(gain))
    if mode in MODES or has_gain:
        return mode
    raise ValueError(
        f"there is no mode {mode[:40]!r}; {nearest(mode[:40], [*MODES, 'scale:0.5'])}"
        f"modes are {', '.join(MODES)}, scale:G and add:G, e.g. scale:0.5"
    )


def _check_modes(modes: tuple[str, ...]) -> tuple[str, ...]:
    meanings = [_meaning(mode) for mode in modes]
    for number, (mode, meaning) in enumerate(zip(modes, meanings, strict=True)):
        if meaning in meanings[:number]:
            same = modes[meanings.index(meaning)]
            raise ValueError(f"{mode!r} does the same as {same!r} before it; keep one of them")
    return modes


def _check_distinct(values: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    for number, value in enumerate(values):
        if value in values[:number]:
            written = f"{value:g}" if isinstance(value, float) else repr(value)
            raise ValueError(f"{written} appears twice; keep one of them")
    return values


def _check_range(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= bounds[0] < bounds[1] <= 100:
        raise ValueError(
            f"{list(bounds)} is not a range; percentiles are [LOW, HIGH] with "
            "0 <= LOW < HIGH <= 100"
        )
    return bounds


Share = Annotated[Number, Field(ge=0, le=100)]
Range = Annotated[tuple[Share, Share], AfterValidator(_check_range)]
_GAINED = f"^({'|'.join(WITH_GAIN)}):{_NUMBER}$"
Mode = Annotated[
    str,
    AfterValidator(_check_mode),
    WithJsonSchema({"anyOf": [{"enum": list(MODES)}, {"type": "string", "pattern": _GAINED}]}),
]
_Modes = Annotated[tuple[Mode, ...], Field(min_length=1), AfterValidator(_check_modes)]
Modes = Annotated[_Modes, BeforeValidator(as_list, json_schema_input_type=Mode | _Modes)]
_UNIQUE = Field(min_length=1, json_schema_extra={"uniqueItems": True})
_Percents = Annotated[tuple[Percent, ...], _UNIQUE, AfterValidator(_check_distinct)]
Percents = Annotated[
    _Percents, BeforeValidator(as_list, json_schema_input_type=Percent | _Percents)
]
Count = Annotated[Whole, Field(ge=0, le=MAX_CONTROLS)]
_Sites = Annotated[tuple[Text, ...], _UNIQUE, AfterValidator(_check_distinct)]
Sites = Annotated[_Sites, BeforeValidator(as_list, json_schema_input_type=Text | _Sites)]


class Read(StrictModel):
    """How the activations for a stimulus become one number per unit.

    ``sites`` are kinds, paths of modules, or globs over these (``"*"``: every site of every kind);
    a kind that a model lacks is passed over where others are there. The default of ``pool`` is
    ``last`` for texts and ``mean`` for images. ``tokens: content`` never reads special tokens, and
    its ``last`` is the last token that ends a word; ``all`` reads every attended token.
    ``max_tokens`` truncates (``None``: at the model's context length); ``lowercase`` is applied
    when the stimuli are loaded.
    """

    sites: Sites = ("block",)
    """Kinds of site (block, attention, heads, mlp-neurons, ...), paths of modules, or globs."""
    pool: Literal["last", "mean", "max", "cls", "none"] = "last"
    """How positions become one number: last token, mean, max, class token; none: they do not."""
    response: Literal["abs", "signed"] = "signed"
    """Whether activations count with their sign, or by their absolute value as in the paper."""
    tokens: Literal["content", "all"] = "content"
    """``content`` reads no special tokens and ends at the end of a word; ``all`` reads all."""
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    """Truncate texts after so many tokens; null: at the model's context length."""
    lowercase: Flag = False
    """Lower-case texts when they are loaded."""


class Controls(StrictModel):
    """The masks that an ablation is compared with.

    ``random``: number of masks matched per site; ``random-global``: number of masks matched in
    total, as in the paper; ``magnitude-matched``: number of masks matched per site in the size of
    the activations too; ``shuffled``: number of masks that the localizer itself selects on permuted
    condition labels; ``bottom``: the units with the smallest t; ``opposite``: the same, as many at
    every site as the mask has there; ``range``: units sampled between two percentiles of t.
    Any other key is a control of a plugin: the number of its masks, or true for one.
    """

    model_config = ConfigDict(
        extra="allow", json_schema_extra=plugin_names.controls_schema(MAX_CONTROLS)
    )

    random: Count = 20
    """Number of random masks with as many units at every site; below 19 nothing can be affirmed."""
    random_global: Annotated[Count, Field(alias="random-global")] = 0
    """Number of random masks matched in their total only, the control of the paper."""
    magnitude_matched: Annotated[Count, Field(alias="magnitude-matched")] = 0
    """Number of random masks with as many units at every site and decile of mean |activation|."""
    shuffled: Count = 0
    """Number of masks of as many units with the largest t under permuted condition labels."""
    bottom: Flag = False
    """Also the units with the smallest t."""
    opposite: Flag = False
    """Also, at every site as many as the mask has there, the units with the most negative t."""
    range: Range | None = None
    """Also units sampled between two percentiles of t, [LOW, HIGH]."""

    @property
    def of_plugins(self) -> Mapping[str, Any]:
        """The controls of plugins: the number of masks of each, or whether there is one.

        While a file is checked it holds whatever the file says.
        """
        return self.model_extra or {}

    @model_validator(mode="after")
    def _check_plugins(self, info: Any) -> "Controls":
        own = [field.alias or name for name, field in type(self).model_fields.items()]
        plugin_names.check_controls(self.of_plugins, own, MAX_CONTROLS, info)
        return self


class Ablate(StrictModel):
    """What is done to the units, and at which doses (``None``: to the selected units).

    A dose is a percentage of the units at sites of one kind, from the top of the ranking by t.
    """

    mode: Modes = ("zero",)
    """zero, mean (of each unit), resample, noise, scale:G (times G), add or add:G (G times the
    difference of the contrast); one or several."""
    percent: Percents | None = None
    """Doses, in per cent of the units of each kind of site; null: the selected units."""
    controls: Controls = Controls()
    """The masks that the ablation is compared with."""


def check_name(name: str) -> str:
    """Return ``name`` if a contrast or a condition can have it.

    Raises
    ------
    ValueError
        If it has other characters than letters, digits, ``_`` and ``-``.
    """
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"{name[:40]!r} is not a name; use letters, digits, '_' and '-', "
            f"e.g. {re.sub(r'[^a-zA-Z0-9_-]+', '-', name[:40]).strip('-') or 'faces'!r}"
        )
    return name


def _check_task(entry: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    if isinstance(entry, str):
        return entry
    if len(entry) != 1:
        raise ValueError(
            f"a task is its name, or one name with its options below it; this has "
            f"{', '.join(entry) or 'nothing'}; start each task with its own dash"
        )
    ((name, options),) = entry.items()
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"the options of task {name!r} must be a mapping, `key: value`")
    return entry


def _form(value: Any) -> str:
    return MAPPING_TAG if isinstance(value, Mapping) else TEXT_TAG


# Editors read patterns as JavaScript does, where \w has no letter beyond ASCII: so this lists the
# characters that a name does not have.
_NOT_IN_NAMES = r"\s!-,./:-@[-^`{-~"
_NAME = f"^[^{_NOT_IN_NAMES}-][^{_NOT_IN_NAMES}]*$"
Name = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": _NAME})
]
_TwoSides = Annotated[Text, WithJsonSchema({"type": "string", "pattern": "^[^>]+>[^>]+$"})]
ComparisonText = Annotated[
    Annotated[_TwoSides, Tag(TEXT_TAG)] | Annotated[Mapping[str, Number], Tag(MAPPING_TAG)],
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
    Annotated[Text, Tag(TEXT_TAG)] | Annotated[_Options, Tag(MAPPING_TAG)],
    Discriminator(_form),
    AfterValidator(_check_task),
]
_Entries = tuple[Entry, ...]
Entries = Annotated[_Entries, BeforeValidator(as_list, json_schema_input_type=Text | _Entries)]
