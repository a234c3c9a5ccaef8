"""Contrasts: named conditions, a comparison between them, and how it is read and tested."""

from collections.abc import Mapping, Sequence
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

from deeploc.contrast import file as contrast_file
from deeploc.contrast.comparison import Comparison, parse_comparison
from deeploc.contrast.fields import Ablate, Controls, Entries, Name, Read, Said, Select
from deeploc.contrast.file import Document
from deeploc.contrast.sources import Source
from deeploc.contrast.validation import Flag, StrictModel, Text, Whole, tell
from deeploc.contrast.yaml import Place
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
"""A condition is a named source of stimuli."""


class Contrast(StrictModel):
    """Conditions, a comparison, and the read-out, selection and tasks that belong to it.

    ``split: half`` localizes on one half of each condition and evaluates on the other; ``none``
    uses all stimuli for both, as the paper does. With ``against: each`` the positive side must
    beat every condition on the right, not their pool. ``balance`` keeps as many stimuli of the
    larger side of the comparison as the smaller has, spread evenly over its conditions.
    ``evaluate_limit`` bounds the held-out stimuli of each condition that are evaluated: localizing
    reads every stimulus once, evaluating once for every ablation and control.
    """

    name: Name
    """What the contrast is called; also names its run folders."""
    title: Text
    """One line that says what is compared."""
    modality: Literal["text", "image"]
    """What the stimuli are."""
    source: Text
    """Where the stimuli and the idea come from."""
    licence: Text | None = None
    """Under which terms the stimuli may be used."""
    notes: Text | None = None
    """What else differs between the conditions, and whatever a reader of the results must know."""
    conditions: Annotated[Mapping[Name, Condition], Field(min_length=1)]
    """Condition name -> where its stimuli come from."""
    contrast: Said
    """``a > b``, ``a, b > c, d``, or weights that sum to 0: ``{a: 1, b: -0.5, c: -0.5}``."""
    against: Literal["pooled", "each"] = "pooled"
    """Whether a unit must prefer the left side to the others together, or to each of them."""
    balance: Flag = False
    """Whether both sides of the comparison keep as many stimuli as the smaller one has."""
    read: Read = Read()
    """How a stimulus becomes one number per unit."""
    split: Literal["half", "none"] = "half"
    """Localize on one half of each condition and evaluate on the other, or use all for both."""
    select: Select = Select()
    """Which units are the network."""
    ablate: Ablate = Ablate()
    """What is done to them, at which doses, against which controls."""
    evaluate: Entries = ()
    """Tasks: names, or a name with its options below it."""
    evaluate_limit: Annotated[Whole, Field(ge=1)] | None = None
    """At most so many held-out stimuli of each condition are evaluated; null: all."""

    _document: Document = PrivateAttr(default=Document({}, {}))
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="before")
    @classmethod
    def _pools_as_fits(cls, data: Any) -> Any:
        """Read images, which have no last position, as means unless the file says otherwise."""
        read = data.get("read", {}) if isinstance(data, Mapping) else None
        if isinstance(read, Mapping) and "pool" not in read and data.get("modality") == "image":
            return {**data, "read": {**read, "pool": "mean"}}
        return data

    @field_validator("contrast")
    @classmethod
    def _compares_conditions(cls, said: Any, info: Any) -> Any:
        if "conditions" in info.data:  # else their own faults are told
            parse_comparison(said, info.data["conditions"])
        return said

    @field_validator("against")
    @classmethod
    def _has_sides(cls, against: str, info: Any) -> str:
        if against == "each" and isinstance(info.data.get("contrast"), Mapping):
            raise ValueError("'each' needs a contrast of the form `a > b, c`, not weights")
        return against

    @field_validator("evaluate_limit")
    @classmethod
    def _bounds_a_half(cls, limit: int | None, info: Any) -> int | None:
        if limit is not None and info.data.get("split") == "none":
            raise ValueError(
                "with `split: none` the same stimuli localize and evaluate; write `split: half`, "
                "or give the conditions a limit"
            )
        return limit

    @property
    def comparison(self) -> Comparison:
        """The parsed ``contrast``."""
        return parse_comparison(self.contrast, self.conditions)

    @property
    def tasks(self) -> list[tuple[str, dict[str, Any]]]:
        """The tasks to evaluate, each with its options."""
        pairs = [{e: None} if isinstance(e, str) else e for e in self.evaluate]
        return [(name, dict(options or {})) for pair in pairs for name, options in pair.items()]

    @property
    def base(self) -> Path:
        """The folder that relative paths start from: that of the file, else the current one."""
        return self._base

    def resolved(self) -> dict[str, Any]:
        """Return the contrast as JSON, defaults filled in; the inverse of `restored`."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def restored(cls, resolved: Mapping[str, Any], base: Path) -> "Contrast":
        """Return the contrast that `resolved` described, with relative paths below ``base``.

        Raises
        ------
        ContrastError
            If ``resolved`` is not a valid contrast.
        """
        name = resolved.get("name", "without a name")
        return _validated(Document(dict(resolved), {(): f"contrast {name!r}"}), base)

    def changed(self, overrides: Sequence[str]) -> "Contrast":
        """Return the contrast after changes ``dotted.key=VALUE``, validated anew.

        Raises
        ------
        ContrastError
            If the result is not a valid contrast; names the change at fault.
        """
        said = self._document.data or self.resolved()  # made in Python: there is no file
        document = Document(said, self._document.places)
        for change in overrides:
            document = contrast_file.override(document, change)
        return _validated(document, self._base)

    def fault(self, path: Place, message: str) -> ContrastError:
        """Return an error about the value at ``path``, told with file and line."""
        place = self._document.place(path)
        return ContrastError(f"{place}: {message}")

    def faults(self, error: ValidationError, path: Place = ()) -> ContrastError:
        """Return pydantic's faults about the part at ``path``, each with its file and line."""
        return tell(error, self._document, path)


def available() -> list[str]:
    """Return the names of the contrasts shipped with deeploc, those in folders as FOLDER/NAME."""
    root = Path(str(files("deeploc.contrasts")))
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(names)


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Contrast:
    """Load a contrast by its shipped name or from a file that ends in .yaml or .yml.

    One in a folder may be called ``emotion/anger``, as its file, or ``emotion-anger``, as it calls
    itself.

    ``overrides`` are changes ``dotted.key=VALUE`` made before the contrast is validated.

    Raises
    ------
    ContrastError
        If there is no such contrast, or the file does not describe one; has a line per fault.
    """
    path = Path(name_or_path)
    shown = str(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        known = {name.replace("/", "-"): name for name in available()}
        shown = known.get(shown, shown)
        if shown not in known.values():
            raise ContrastError(
                f"no contrast named {shown!r}; {nearest(shown, available())}"
                f"shipped: {', '.join(available())}; for your own, pass the path of a .yaml file"
            )
        path = Path(str(files("deeploc.contrasts"))) / f"{shown}.yaml"
        shown = f"{shown}.yaml"
    document = contrast_file.read(path, shown)
    for change in overrides:
        document = contrast_file.override(document, change)
    return _validated(document, path.absolute().parent)


def _validated(document: Document, base: Path) -> Contrast:
    try:
        contrast = Contrast.model_validate(document.data)
    except ValidationError as error:
        raise tell(error, document) from None
    contrast._document, contrast._base = document, base
    return contrast
