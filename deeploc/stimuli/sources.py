"""Where stimuli and items come from: the part of a contrast file that names a source."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from zlib import crc32

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from deeploc.errors import ContrastError
from deeploc.stimuli import builtin as generators
from deeploc.strict import StrictModel, Text, Texts, Whole, as_list

T = TypeVar("T")

KINDS = ("texts", "file", "images", "builtin", "download")


def as_text(value: Any) -> str:
    """Return a YAML or JSON value as the text that a table would hold: 3, true, [1, 2]."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts_of(value: Any) -> Any:
    listed = as_list(value)
    return [as_text(v) for v in listed] if isinstance(listed, list) else listed


_Cell = str | int | float | bool | None
_Values = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(
        _texts_of,
        json_schema_input_type=_Cell | Annotated[tuple[JsonValue, ...], Field(min_length=1)],
    ),
]
Where = Mapping[str, _Values]
"""Column -> the values that are kept."""


class Builtin(BaseModel):
    """One of deeploc's own generators; whatever is not ``generator`` or ``seed`` is its option."""

    model_config = ConfigDict(extra="allow", frozen=True)

    generator: Text
    seed: Annotated[Whole, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _exists(self) -> "Builtin":
        if self.generator not in generators.GENERATORS:
            known = generators.GENERATORS
            raise ValueError(generators.unknown("builtin generator", self.generator, known))
        try:
            generators.checked(self.generator, generators.GENERATORS[self.generator], self.options)
        except ContrastError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def options(self) -> Mapping[str, Any]:
        """What the generator is asked for beside its number and seed."""
        return self.model_extra or {}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe each generator with its own options: by itself pydantic knows of none."""
        described = handler.resolve_ref_schema(handler(core_schema))
        seed = described["properties"]["seed"]
        forms = [_form_of(name, known, seed) for name, known in generators.GENERATORS.items()]
        return {"description": described["description"], "anyOf": forms}


def _form_of(name: str, generator: generators.Generator, seed: JsonSchemaValue) -> JsonSchemaValue:
    """Return what JSON Schema says of one generator's options."""
    types = {str: "string", int: "integer", bool: "boolean", float: "number"}
    options = {
        option: {"enum": list(generator.choices[option])}
        if option in generator.choices
        else {"type": types[type(default)]}
        for option, default in generator.options.items()
    }
    for option, default in generator.options.items():
        options[option]["default"] = default
    return {
        "type": "object",
        "properties": {"generator": {"const": name}, "seed": seed, **options},
        "required": ["generator"],
        "additionalProperties": False,
    }


class Download(StrictModel):
    """Files of a declared address, each checked against the sha256 in a manifest.

    ``manifest`` is a csv file with the columns ``path`` (below ``url``) and ``sha256``; ``files``
    are globs over these paths.
    """

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    manifest: Text
    files: Texts = ("*",)


class _Sparse(StrictModel):
    """A part of a contrast file that is written without the keys it does not use."""

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _exactly_one_of(kinds: Sequence[str]) -> dict[str, Any]:
    """Return what JSON Schema says of keys of which exactly one is given."""
    given = [
        {"required": [kind], "properties": {kind: {"not": {"type": "null"}}}} for kind in kinds
    ]
    return {"oneOf": given}


class Local(_Sparse):
    """How a condition that is generated or downloaded is read from the folder of ``--stimuli``."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_of(("file", "images")))

    file: Texts | None = None
    images: Texts | None = None
    column: Texts | None = None
    where: Where | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Local":
        if (self.file is None) == (self.images is None):
            said = "none" if self.file is None else "file and images"
            raise ValueError(f"exactly one of file, images; this has {said}")
        _no_column_of_images(self)
        return self


def _as_builtin(value: Any) -> Any:
    return {"generator": value} if isinstance(value, str) else value


_Named = Annotated[str, WithJsonSchema({"enum": list(generators.GENERATORS)})]


class Source(_Sparse):
    """Exactly one source of texts, images or items, and what of it is taken.

    ``images`` are folders, paths or globs of image files. ``file`` are paths or globs of csv, tsv,
    jsonl or txt files, ``column`` the columns whose values make a stimulus: texts, joined by one
    space (default ``text``, or the only column), or the path of an image below the table's folder
    (default ``image``, or the only column). ``where`` keeps the rows whose columns hold one of the
    given values (image files have the columns ``image`` and ``label``, the name of their folder),
    ``limit`` how many at most.
    """

    model_config = ConfigDict(json_schema_extra=_exactly_one_of(KINDS))

    texts: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """The stimuli themselves."""
    file: Texts | None = None
    """Tables, or txt files with a text per line: paths or globs."""
    images: Texts | None = None
    """Image files: folders, paths or globs."""
    builtin: (
        Annotated[Builtin, BeforeValidator(_as_builtin, json_schema_input_type=_Named | Builtin)]
        | None
    ) = None
    """A generator of deeploc, or a mapping of it and its options."""
    download: Download | None = None
    """Files of a declared address, checked by sha256."""
    column: Texts | None = None
    """The column, or columns, that make a stimulus."""
    where: Where | None = None
    """Column -> the value, or values, of the rows that are kept."""
    limit: Annotated[Whole, Field(ge=1)] | None = None
    """At most so many, drawn at random with the seed of the run."""
    local: Local | None = None
    """How the condition is read from the folder of --stimuli."""

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
        _no_column_of_images(self)
        if self.local is not None and given[0] in ("file", "images"):
            raise ValueError(
                f"local says how a {given[0]!r} source is read with --stimuli, but that is read "
                "from the folder as it is; leave local out"
            )
        return self

    @property
    def kind(self) -> str:
        """Which of ``texts``, ``file``, ``images``, ``builtin`` and ``download`` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def _no_column_of_images(source: Source | Local) -> None:
    if source.images is not None and source.column is not None:
        raise ValueError("column is the part of a table; images have none; leave it out")


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
