"""The parts of a source in a contrast file: generators, downloads, labels, local files."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from deeploc.contrast.labels import label_name
from deeploc.contrast.validation import (
    Seed,
    StrictModel,
    Text,
    Texts,
    as_list,
    is_recorded,
)
from deeploc.errors import ContrastError, PluginError
from deeploc.generators import registry as generators


def as_text(value: Any) -> str:
    """Return a YAML or JSON value as a table of text holds it: 3, true, [1, 2]."""
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


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"label {name!r} appears twice; each number needs its own name")
    return names


Names = Mapping[str, Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_check_names)]]
"""Column -> the names of 0, 1, 2 …"""

Per = Literal["line", "file"]
"""Whether each line of a .txt file is a stimulus, or each file."""


def check_columns(
    images: Sequence[str] | None,
    column: Sequence[str] | None,
    names: Mapping[str, Sequence[str]] | None,
    where: Mapping[str, Sequence[str]] | None,
) -> None:
    """Refuse a column of image files, and a ``where`` with a label that ``names`` lacks.

    Parameters
    ----------
    images, column, names, where
        The fields of a source; None where it lacks them.

    Raises
    ------
    ValueError
        If a field cannot apply.
    """
    if images is not None and column is not None:
        raise ValueError("column names a part of a table; image files have none; leave it out")
    for labelled, known in (names or {}).items():
        for value in (where or {}).get(labelled, ()):
            try:
                label_name(value, known)
            except ValueError as error:
                raise ValueError(f"where.{labelled}: {error}") from None


class Builtin(BaseModel):
    """A generator, deeploc's own or that of a plugin; its options are keys of their own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    generator: Text
    seed: Seed = 0

    @model_validator(mode="after")
    def _check_generator(self, info: Any) -> "Builtin":
        if is_recorded(info) and self.generator not in generators.GENERATORS:
            return self
        try:
            generators.complete(self.generator, self.options)
        except (ContrastError, PluginError) as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the generator."""
        return self.model_extra or {}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe each generator with its options, which pydantic does not know."""
        described = handler.resolve_ref_schema(handler(core_schema))
        seed = described["properties"]["seed"]
        forms = [_form_of(name, known, seed) for name, known in generators.GENERATORS.items()]
        return {"description": described["description"], "anyOf": [*forms, *_of_plugins(seed)]}


def as_builtin(value: Any) -> Any:
    """Return the name of a generator as a mapping; anything else is returned unchanged."""
    return {"generator": value} if isinstance(value, str) else value


def _of_plugins(seed: JsonSchemaValue) -> list[JsonSchemaValue]:
    """Return the JSON Schema of the generators of plugins: any options, none is imported."""
    plugins = [n for n in generators.names() if n not in generators.GENERATORS]
    named = {
        "type": "object",
        "properties": {"generator": {"enum": plugins}, "seed": seed},
        "required": ["generator"],
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }
    return [named] if plugins else []


def _form_of(name: str, generator: generators.Generator, seed: JsonSchemaValue) -> JsonSchemaValue:
    """Return the JSON Schema of one generator's options."""
    types = {str: "string", int: "integer", bool: "boolean", float: "number"}
    options: dict[str, Any] = {
        option: {"enum": list(generator.choices[option])}
        if option in generator.choices
        else {"type": types[type(default)]}
        for option, default in generator.options.items()
    }
    for option, default in generator.options.items():
        options[option]["default"] = default
        if option in generator.limits:
            options[option]["minimum"], options[option]["maximum"] = generator.limits[option]
    return {
        "type": "object",
        "properties": {"generator": {"const": name}, "seed": seed, **options},
        "required": ["generator"],
        "additionalProperties": False,
    }


def exactly_one_of(kinds: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of keys of which exactly one is given."""
    given = [
        {"required": [kind], "properties": {kind: {"not": {"type": "null"}}}} for kind in kinds
    ]
    return {"oneOf": given}


class Sparse(StrictModel):
    """A part of a contrast file that is written without the keys it does not use."""

    @model_serializer(mode="wrap")
    def _without_null(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, or a port that is not one
        has_host = False
    if not has_host:
        raise ValueError(
            f"{url[:60]!r} has no usable host; write it like https://example.org/set.zip"
        )
    return url


class Download(Sparse):
    """Files of a declared address, each checked against a sha256.

    Either ``manifest``, a csv file with the columns ``path`` (below ``url``) and ``sha256``; or
    ``sha256``, that of the one zip or tar archive that ``url`` names. ``files`` are globs over the
    paths in the manifest or the archive.
    """

    model_config = ConfigDict(json_schema_extra=exactly_one_of(("manifest", "sha256")))

    url: Annotated[str, Field(pattern=r"^https?://\S+$"), AfterValidator(_check_url)]
    """The folder that the paths of the manifest are below, or one zip or tar archive."""
    manifest: Text | None = None
    """A csv file with the columns path and sha256."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The sha256 of the archive."""
    files: Texts = ("*",)
    """Globs over the paths in the manifest or the archive."""

    @model_validator(mode="after")
    def _check_one_hash(self) -> "Download":
        if (self.manifest is None) == (self.sha256 is None):
            given = "neither" if self.manifest is None else "both"
            raise ValueError(
                f"needs either the sha256 of an archive or the manifest of a folder; has {given}"
            )
        return self


class Local(Sparse):
    """How a condition that is generated or downloaded is read from the folder of ``--stimuli``.

    The default of ``names`` are those of the condition. With ``builtin`` it is generated all the
    same: the folder holds what the tasks need.
    """

    model_config = ConfigDict(json_schema_extra=exactly_one_of(("file", "images", "builtin")))

    file: Texts | None = None
    """Globs of tables or text files: csv, tsv, jsonl, parquet, txt."""
    images: Texts | None = None
    """Globs of image files."""
    per: Per | None = None
    """In txt files, whether each line is a stimulus or each file."""
    column: Texts | None = None
    """The column of the texts in a table; several are joined by a space."""
    names: Names | None = None
    """The names of numbers in a column of labels, from 0 on."""
    where: Where | None = None
    """The rows that are kept: the values of a column."""
    builtin: (
        Annotated[Builtin, BeforeValidator(as_builtin, json_schema_input_type=Text | Builtin)]
        | None
    ) = None
    """The generator that makes the condition all the same."""

    @model_validator(mode="after")
    def _check_one_kind(self) -> "Local":
        given = [k for k in ("file", "images", "builtin") if getattr(self, k) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            raise ValueError(f"exactly one of file, images, builtin; this has {named}")
        check_columns(self.images, self.column, self.names, self.where)
        for key in ("per", "column", "names", "where"):
            if self.builtin is not None and getattr(self, key) is not None:
                raise ValueError(f"{key} belongs to files; a generator has none; leave it out")
        for key in ("per", "names"):
            if self.images is not None and getattr(self, key) is not None:
                raise ValueError(f"{key} belongs to file; images have none; leave it out")
        return self
