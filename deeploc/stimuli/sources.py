"""Where stimuli and items come from: the part of a contrast file that names a source."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar
from zlib import crc32

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from deeploc.stimuli.parts import (
    Builtin,
    Download,
    Local,
    Names,
    Per,
    Sparse,
    Where,
    as_text,
    check_columns,
)
from deeploc.strict import Flag, Text, Texts, Whole

__all__ = ["KINDS", "Builtin", "Download", "Local", "Source", "as_text", "sample", "substream"]

T = TypeVar("T")

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


def _as_builtin(value: Any) -> Any:
    return {"generator": value} if isinstance(value, str) else value


class Source(Sparse):
    """Exactly one source of texts, images or items, and what of it is taken.

    ``images`` are folders, paths or globs of image files. ``file`` are paths or globs of csv, tsv,
    jsonl, parquet or txt files; of the latter each line is a text, or with ``per: file`` each file.
    ``hub`` is the name of a data set of the Hugging Face hub, or a local folder in the same layout,
    with its ``split``, ``config`` and ``revision``; with ``streaming`` only the first rows that
    ``where`` keeps are read, ``limit`` of them. ``column`` are the columns whose values make a
    stimulus: texts, joined by one space (default ``text``, or the only column), or the path of an
    image below the table's folder (default ``image``, or the only column). ``names`` says what
    0, 1, 2 … mean in a column that holds numbers. ``where`` keeps the rows whose columns hold one
    of the given values, labels by name or number (image files have the columns ``image`` and
    ``label``, the name of their folder), ``limit`` how many at most.
    """

    texts: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    file: Texts | None = None
    images: Texts | None = None
    builtin: Annotated[Builtin, BeforeValidator(_as_builtin)] | None = None
    download: Download | None = None
    hub: Text | None = None
    config: Text | None = None
    split: Annotated[Text, Field(pattern=r"^\w[\w.-]*$")] | None = None
    revision: Text | None = None
    streaming: Flag | None = None
    per: Per | None = None
    column: Texts | None = None
    names: Names | None = None
    where: Where | None = None
    limit: Annotated[Whole, Field(ge=1)] | None = None
    local: Local | None = None

    @field_validator("texts")
    @classmethod
    def _not_blank(cls, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for number, text in enumerate(texts or ()):
            if not text.strip():
                raise ValueError(f"text {number} is blank; a stimulus needs at least one word")
        return texts

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"a source is exactly one of {', '.join(KINDS)}; this has {said}")
        _check_keys(self, given[0])
        check_columns(self.images, self.column, self.names, self.where)
        if self.local is not None and given[0] in ("file", "images"):
            raise ValueError(
                f"local says how a {given[0]!r} source is read with --stimuli, but that is read "
                "from the folder as it is; leave local out"
            )
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def _check_keys(source: Source, kind: str) -> None:
    for key, kinds in _BELONGS.items():
        if getattr(source, key) is not None and kind not in kinds:
            raise ValueError(
                f"{key} is said of {' or '.join(kinds)}; this source is {kind}; leave it out"
            )
    if kind == "hub" and source.split is None:
        raise ValueError("hub needs the split that is read, e.g. `split: validation`")
    if source.streaming and source.limit is None:
        raise ValueError("streaming ends at a limit; add one, e.g. `limit: 500`")


def sample(items: Sequence[T], limit: int | None, seed: int, name: str) -> list[T]:
    """Return at most ``limit`` of the items, drawn at random, in their own order.

    The draw depends on the seed, on ``name`` and on how many items there are, on nothing else;
    a smaller sample is part of a larger one.
    """
    if limit is None or limit >= len(items):
        return list(items)
    drawn = substream(seed, f"sample:{name}").permutation(len(items))[:limit]
    return [items[i] for i in sorted(drawn)]


def substream(seed: int, name: str) -> np.random.Generator:
    """Return a generator of its own for ``name``, the same for this seed on every machine."""
    return np.random.default_rng([seed, crc32(name.encode())])
