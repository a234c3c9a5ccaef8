"""What a mask file of deeploc says beside the units, checked: it may come from anybody."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

TABLE, FACTS = "sites", "deeploc"
"""Keys of the metadata; the first is the site table of every artefact."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Site(_Part):
    name: str
    kind: str


class _Read(_Part):
    pool: str | None = None


class _Facts(_Part):
    model: str | None = None
    contrast: str | None = None
    read: _Read | None = None


class _Metadata(_Part):
    sites: list[_Site] | None = None
    deeploc: _Facts | None = None


def checked_metadata(said: Any) -> dict[str, Any]:
    """Return metadata, refused where what is read of it is of another form than deeploc writes.

    Parameters
    ----------
    said
        Any JSON.

    Raises
    ------
    ValueError
        If it is of another form; says where.
    """
    try:
        _Metadata.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"its metadata, {place}: {first['msg']}") from None
    made: dict[str, Any] = said
    return made
