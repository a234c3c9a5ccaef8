"""Contrasts: named conditions, a comparison between them, and how it is read and evaluated."""

from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from deeploc.contrast import consistency
from deeploc.contrast import file as contrast_file
from deeploc.contrast.comparison import Comparison, parse_comparison
from deeploc.contrast.fields import (
    Ablate,
    ComparisonText,
    Controls,
    Entries,
    Name,
    Read,
)
from deeploc.contrast.file import Document
from deeploc.contrast.plugin_names import Statistic
from deeploc.contrast.selecting import Select
from deeploc.contrast.shipped import available
from deeploc.contrast.shown import Shown
from deeploc.contrast.sources import Source
from deeploc.contrast.validation import (
    Flag,
    StrictModel,
    Text,
    Whole,
    contrast_error,
    errors_at,
)
from deeploc.contrast.verdict import Verdict
from deeploc.contrast.yaml import KeyPath
from deeploc.errors import ContrastError, nearest

__all__ = [
    "Ablate",
    "Comparison",
    "Condition",
    "Contrast",
    "Controls",
    "Read",
    "Select",
    "available",
    "load",
]

Condition = Source
"""The source of a condition's stimuli."""


class Contrast(StrictModel):
    """Conditions, a comparison, and the read-out, selection and tasks that belong to it.

    ``split: half`` localizes on one half of each condition and evaluates on the other; ``none``
    uses all stimuli for both, as the paper does. With ``against: each`` the positive side must
    exceed every condition on the right, not their pool. With ``statistic: paired`` the rows of the
    compared conditions belong together, and are sampled and split together; the selectivity index
    is 1 for every unit whose mean responses differ in sign (ties go to the lower index), which
    ``response: abs`` avoids. ``balance`` keeps as many stimuli of the
    larger side of the comparison as the smaller has, spread evenly over its conditions.
    ``evaluate_limit`` bounds the held-out stimuli of each condition that are evaluated, since each
    of them is read once for every ablation and control.
    """

    name: Name
    """The name of the contrast; also names its run folders."""
    title: Text
    """The comparison in one line."""
    modality: Literal["text", "image"]
    """The kind of the stimuli."""
    source: Text
    """The publication of the stimuli and of the idea."""
    licence: Text | None = None
    """The licence of the stimuli."""
    notes: Text | None = None
    """Other differences between the conditions, and what readers of the results must know."""
    conditions: Annotated[Mapping[Name, Condition], Field(min_length=1)]
    """Condition name -> the source of its stimuli."""
    contrast: ComparisonText
    """``a > b``, ``a, b > c, d``, or weights that sum to 0: ``{a: 1, b: -0.5, c: -0.5}``."""
    against: Literal["pooled", "each"] = "pooled"
    """Whether a unit must prefer the left side to the others together, or to each of them."""
    statistic: Statistic = "welch"
    """What units are ranked by: t of Welch or of paired stimuli (row by row), z of a rank test,
    d' or the selectivity index (FSI) with the p of Welch's t; or the statistic of a plugin."""
    balance: Flag = False
    """Whether both sides of the comparison keep as many stimuli as the smaller one has."""
    read: Read = Read()
    """How the activations for a stimulus become one number per unit."""
    split: Literal["half", "none"] = "half"
    """Localize on one half of each condition and evaluate on the other, or use all for both."""
    select: Select = Select()
    """Which units are the network."""
    ablate: Ablate = Ablate()
    """What is done to them, at which doses, compared with which controls."""
    evaluate: Entries = ()
    """Tasks: names, or a name with its options below it."""
    verdict: Verdict = Verdict()
    """The outcome that decides whether a network was found."""
    examples: Shown = True
    """Whether a report shows what the model says to a few held-out inputs, intact, ablated,
    amplified and under a random control; or ``prompts:``, the texts to continue instead."""
    evaluate_limit: Annotated[Whole, Field(ge=1)] | None = None
    """At most so many held-out stimuli of each condition are evaluated; null: all."""

    _document: Document = PrivateAttr(default=Document({}, {}))
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="before")
    @classmethod
    def _default_pool(cls, data: Any) -> Any:
        """Read images, which have no last position, as means by default."""
        read = data.get("read", {}) if isinstance(data, Mapping) else None
        if isinstance(read, Mapping) and "pool" not in read and data.get("modality") == "image":
            return {**data, "read": {**read, "pool": "mean"}}
        return data

    @field_validator("contrast")
    @classmethod
    def _check_comparison(cls, comparison: Any, info: Any) -> Any:
        if "conditions" in info.data:  # else their own errors are reported
            parse_comparison(comparison, info.data["conditions"])
        return comparison

    @field_validator("against")
    @classmethod
    def _check_sides(cls, against: str, info: Any) -> str:
        if against == "each" and isinstance(info.data.get("contrast"), Mapping):
            raise ValueError("'each' needs a contrast of the form `a > b, c`, not weights")
        return against

    @model_validator(mode="after")
    def _check_consistency(self) -> "Contrast":
        if problems := list(consistency.problems(self)):
            raise errors_at(problems)
        return self

    @property
    def comparison(self) -> Comparison:
        """The parsed ``contrast``."""
        return parse_comparison(self.contrast, self.conditions)

    @property
    def paired(self) -> tuple[str, ...]:
        """The conditions whose stimuli belong together one by one; empty: none do."""
        sides = self.comparison
        return (*sides.positive, *sides.negative) if self.statistic == "paired" else ()

    @property
    def tasks(self) -> list[tuple[str, dict[str, Any]]]:
        """The tasks to evaluate, each with its options."""
        pairs = [{e: None} if isinstance(e, str) else e for e in self.evaluate]
        return [(name, dict(options or {})) for pair in pairs for name, options in pair.items()]

    def without_tasks(self, names: Collection[str]) -> "Contrast":
        """Return the contrast without some of its tasks.

        Parameters
        ----------
        names
            Their names.
        """
        kept = [e for e in self.evaluate if ({e} if isinstance(e, str) else {*e}).isdisjoint(names)]
        return self.model_copy(update={"evaluate": tuple(kept)})

    @property
    def base(self) -> Path:
        """The folder that relative paths start from: that of the file, else the current folder."""
        return self._base

    def to_json(self) -> dict[str, Any]:
        """Return the contrast as JSON, defaults filled in; the inverse of `from_json`."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(
        cls, value: Mapping[str, Any], base: Path, *, recorded: bool = False
    ) -> "Contrast":
        """Return the contrast that `to_json` described.

        Parameters
        ----------
        value
            What `to_json` returned.
        base
            The folder that relative paths start from.
        recorded
            Whether it is read from a run: its plugins need not be at hand then.

        Raises
        ------
        ContrastError
            If ``value`` is not a valid contrast.
        """
        name = value.get("name", "without a name")
        document = Document(dict(value), {(): f"contrast {name!r}"})
        return _validated(document, base, recorded=recorded)

    def with_changes(self, overrides: Sequence[str]) -> "Contrast":
        """Return the contrast after changes ``dotted.key=VALUE``, validated again.

        Raises
        ------
        ContrastError
            If the result is not a valid contrast; names the change that is wrong.
        """
        data = self._document.data or self.to_json()  # made in Python: there is no file
        document = Document(data, self._document.locations)
        for change in overrides:
            document = contrast_file.override(document, change)
        return _validated(document, self._base)

    def error_at(self, path: KeyPath, message: str) -> ContrastError:
        """Return an error about a part of the contrast, with file and line.

        Parameters
        ----------
        path
            The keys and indices that lead to the part.
        message
            What is wrong, what would be right and what to do.
        """
        return ContrastError(f"{self._document.location(path)}: {message}")

    def validation_error(self, error: ValidationError, path: KeyPath = ()) -> ContrastError:
        """Return pydantic's errors about a part of the contrast, each with file and line.

        Parameters
        ----------
        error
            What pydantic raised.
        path
            The keys and indices that lead to the part; default: the whole contrast.
        """
        return contrast_error(error, self._document, path)


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Contrast:
    """Return a shipped contrast by its name, or one from a file.

    Parameters
    ----------
    name_or_path
        The name of a shipped contrast (of one in a folder its path, ``emotion/anger``, or its
        name, ``emotion-anger``), or the path of a file that ends in .yaml or .yml.
    overrides
        Changes ``dotted.key=VALUE`` made before the contrast is validated.

    Raises
    ------
    ContrastError
        If there is no such contrast, or the file does not describe one; has a line per error.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        known = {name.replace("/", "-"): name for name in available()}
        name = known.get(name, name)
        if name not in known.values():
            raise ContrastError(
                f"no contrast named {name!r}; {nearest(name, available())}"
                f"shipped: {', '.join(available())}; for your own, pass the path of a .yaml file"
            )
        path = Path(str(files("deeploc.contrasts"))) / f"{name}.yaml"
        name = f"{name}.yaml"
    document = contrast_file.read(path, name)
    for change in overrides:
        document = contrast_file.override(document, change)
    return _validated(document, path.absolute().parent)


def _validated(document: Document, base: Path, *, recorded: bool = False) -> Contrast:
    try:
        contrast = Contrast.model_validate(document.data, context={"recorded": recorded})
    except ValidationError as error:
        raise contrast_error(error, document) from None
    contrast._document, contrast._base = document, base
    return contrast
