"""Arrow tables, from parquet files or the library `datasets`, as rows of text."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deeploc.errors import ContrastError

# pyarrow and datasets are imported where they are needed: together they take over a second


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a row as a table of text would hold them; a null is left out."""
    return {column: _as_cell(value) for column, value in row.items() if value is not None}


def _as_cell(value: Any) -> str:
    """Return text unchanged, dates in ISO 8601 and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def rows(table: Any) -> Iterator[dict[str, str]]:
    """Yield the rows of a `pyarrow.Table`, without columns of bytes (images, sound)."""
    textual = [field.name for field in table.schema if not holds_bytes(field.type)]
    for batch in table.select(textual).to_batches():
        yield from map(cells, batch.to_pylist())


def holds_bytes(kind: Any) -> bool:
    """Return whether an Arrow type is binary or has a binary part."""
    return "binary" in str(kind)


def parquet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each row of a parquet file, from 0, and its cells.

    Raises
    ------
    ContrastError
        If it is not a parquet file, is damaged, or has two columns of one name.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            yield from enumerate(rows(file.read()))
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ContrastError(f"{path}: cannot be read as parquet: {reason}") from None
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ContrastError(f"{path}: cannot be read as parquet: {reason}") from None


def _check_columns(path: Path, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ContrastError(f"{path}: column {name!r} twice; name each column once")


def class_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Return column -> the names of 0, 1, 2 … that a parquet file declares.

    Only files written by `datasets` declare any.
    """
    from pyarrow.parquet import read_schema

    metadata = (read_schema(path).metadata or {}).get(b"huggingface")
    try:
        features = json.loads(metadata)["info"]["features"] if metadata else {}
    except (ValueError, LookupError, TypeError):
        return {}  # metadata of another program: no names are declared
    return {
        column: tuple(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
