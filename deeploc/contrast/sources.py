"""Where stimuli and items come from: the part of a contrast file that names a source."""

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from deeploc.contrast.plugin_names import NamedSchema
from deeploc.contrast.source_fields import (
    Builtin,
    Download,
    Local,
    Names,
    Per,
    Sparse,
    Where,
    as_builtin,
    as_text,
    check_columns,
    exactly_one_of,
)
from deeploc.contrast.validation import Flag, Text, Texts, Whole
from deeploc.generators.registry import GENERATORS

__all__ = ["KINDS", "Builtin", "Download", "Local", "Source", "as_text"]

KINDS = ("texts", "file", "images", "builtin", "download", "hub")

_BELONGS = {
    "config": ("hub",),
    "split": ("hub",),
    "revision": ("hub",),
    "streaming": ("hub",),
    "per": ("file",),
    "names": ("file", "download", "hub"),
}
"""Key -> the kinds of source that have it."""


_Named = Annotated[str, NamedSchema(tuple(GENERATORS), "deeploc.generators")]

_TOGETHER: dict[str, Any] = {
    "dependentRequired": {"hub": ["split"], "streaming": ["limit"]},
    "dependentSchemas": {
        key: {"anyOf": [{"required": [kind]} for kind in kinds]} for key, kinds in _BELONGS.items()
    },
}
"""The JSON Schema of keys that belong together."""


class Source(Sparse):
    """Exactly one source of texts, images or items, and which part of it is used.

    ``images`` are folders, paths or globs of image files. ``file`` are paths or globs of csv, tsv,
    jsonl, parquet or txt files; of a txt file each line is a text, or with ``per: file`` each file.
    ``hub`` is the name of a data set of the Hugging Face hub, or a local folder in the same layout,
    with its ``split``, ``config`` and ``revision``; with ``streaming`` only the first rows that
    ``where`` keeps are read, ``limit`` of them. ``column`` are the columns whose values make a
    stimulus: texts, joined by one space (default ``text``, or the only column), or the path of an
    image below the table's folder (default ``image``, or the only column). ``names`` are the labels
    0, 1, 2 … of a column that holds numbers. ``where`` keeps the rows whose columns hold one
    of the given values, labels by name or number (image files have the columns ``image`` and
    ``label``, the name of their folder), ``limit`` how many at most.
    """

    model_config = ConfigDict(json_schema_extra={**exactly_one_of(KINDS), **_TOGETHER})

    texts: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """The stimuli themselves."""
    file: Texts | None = None
    """Tables (csv, tsv, jsonl, parquet), or txt files: paths or globs."""
    images: Texts | None = None
    """Image files: folders, paths or globs."""
    builtin: (
        Annotated[Builtin, BeforeValidator(as_builtin, json_schema_input_type=_Named | Builtin)]
        | None
    ) = None
    """The name of a generator, of deeploc or of a plugin, or a mapping of its name and options."""
    download: Download | None = None
    """Files of a declared address, checked by sha256."""
    hub: Text | None = None
    """A data set of the Hugging Face hub, or a local folder in the same layout."""
    config: Text | None = None
    """The configuration of the data set."""
    split: Annotated[Text, Field(pattern=r"^\w[\w.-]*$")] | None = None
    """The split of the data set that is read."""
    revision: Text | None = None
    """The commit, tag or branch of the data set."""
    streaming: Flag | None = None
    """Read only the first rows that are kept, ``limit`` of them; for large sets."""
    per: Per | None = None
    """Whether each line of a txt file is a stimulus (the default), or each file."""
    column: Texts | None = None
    """The column, or columns, that make a stimulus."""
    names: Names | None = None
    """Column -> what the numbers 0, 1, 2 … in it mean."""
    where: Where | None = None
    """Column -> the value, or values, of the rows that are kept."""
    limit: Annotated[Whole, Field(ge=1)] | None = None
    """At most so many, sampled with the seed of the run."""
    local: Local | None = None
    """How the condition is read from the folder of --stimuli."""

    @field_validator("texts")
    @classmethod
    def _check_not_blank(cls, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for number, text in enumerate(texts or ()):
            if not text.strip():
                raise ValueError(f"text {number} is blank; a stimulus needs at least one word")
        return texts

    @model_validator(mode="after")
    def _check_one_kind(self) -> "Source":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            kinds = " and ".join(given) or "none"
            raise ValueError(f"a source is exactly one of {', '.join(KINDS)}; this has {kinds}")
        _check_keys(self, given[0])
        check_columns(self.images, self.column, self.names, self.where)
        if self.local is not None and given[0] in ("file", "images"):
            raise ValueError(
                f"local replaces sources without files where --stimuli is given; a {given[0]!r} "
                "source is read from that folder anyway; leave local out"
            )
        return self

    @property
    def kind(self) -> str:
        """Its kind, one of `KINDS`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def _check_keys(source: Source, kind: str) -> None:
    for key, kinds in _BELONGS.items():
        if getattr(source, key) is not None and kind not in kinds:
            raise ValueError(
                f"{key} belongs to {' or '.join(kinds)}; this source is {kind}; leave it out"
            )
    if kind == "hub" and source.split is None:
        raise ValueError("hub needs the split that is read, e.g. `split: validation`")
    if source.streaming and source.limit is None:
        raise ValueError("streaming ends at a limit; add one, e.g. `limit: 500`")
