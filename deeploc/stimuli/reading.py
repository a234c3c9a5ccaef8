"""From sources to records: the rows, items and image files of a source, and which are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deeploc.errors import ContrastError
from deeploc.stimuli import download, images, pictures, tables
from deeploc.stimuli.builtin import generate
from deeploc.stimuli.sources import Builtin, Download, Source, sample
from deeploc.stimuli.stimulus import Record
from deeploc.strict import nearest
from deeploc.watch import Watch


def records(
    source: Source, *, base: Path, folder: Path | None = None, seed: int = 0, name: str = ""
) -> list[Record]:
    """Return the records of a source that ``where`` keeps, at most its own ``limit`` of them.

    Relative paths start at ``base``. With ``folder``, files are looked for there instead and a
    source that is no file is read as its ``local`` says. The limit is drawn with ``seed`` and
    ``name``. An image file is a record with its absolute path as ``image`` and the name of its
    folder as ``label``; in a table, a column ``image`` becomes an absolute path too.

    Raises
    ------
    ContrastError
        If the source cannot be read or ``where`` keeps nothing; names file and line.
    """
    found = rows(source, base=base, folder=folder, seed=seed, name=name)
    return [
        replace(row, fields={**row.fields, "image": str(row.folder / row.fields["image"])})
        if row.folder and row.fields.get("image")
        else row
        for row in found
    ]


def rows(
    source: Source,
    *,
    base: Path,
    folder: Path | None,
    seed: int,
    name: str,
    watch: Watch | None = None,
) -> list[Record]:
    """Return what `records` does, with the cells of tables as they stand there."""
    source = source if folder is None else rooted(source)
    kept = _kept(_read(source, base, folder, watch), source.where or {})
    return sample(kept, source.limit, seed, name)


def rooted(source: Source) -> Source:
    """Return the source as it is read from the user's own folder.

    Raises
    ------
    ContrastError
        If it is no file and does not say how it is read from one, or names an absolute path.
    """
    if source.local is not None:
        return Source(**source.local.model_dump(), limit=source.limit)
    if source.kind not in ("file", "images", "download"):
        raise ContrastError(
            f"its source is {source.kind!r}, which no folder can replace unless the contrast says "
            "how, e.g. `local: {file: '*.txt'}`; add that, or leave --stimuli out"
        )
    for pattern in source.file or source.images or ():
        if Path(pattern).is_absolute():
            raise ContrastError(
                f"{pattern!r} is an absolute path, which --stimuli cannot move; make it relative"
            )
    return source


def cell(row: Record, column: str) -> str:
    """Return what a row has in a column.

    Raises
    ------
    ContrastError
        If there is no such column; names the nearest one.
    """
    if column not in row.fields:
        raise ContrastError(
            f"{row.id}: no column {column!r}; {nearest(column, row.fields)}"
            f"there are: {', '.join(row.fields)}"
        )
    return row.fields[column]


def _read(source: Source, base: Path, folder: Path | None, watch: Watch | None) -> list[Record]:
    if source.texts is not None:
        return [Record(f"texts:{i}", {"text": text}) for i, text in enumerate(source.texts)]
    if source.builtin is not None:
        return _generated(source.builtin, None if source.where else source.limit)
    if source.download is not None:
        return _downloaded(source.download, base, folder, watch)
    root = base if folder is None else folder
    if source.images is not None:
        return images.records(images.find(source.images, root), root)
    return tables.read_all(tables.find(source.file or (), root), root)


def _generated(wanted: Builtin, n: int | None) -> list[Record]:
    items = generate(wanted.generator, n, wanted.seed, wanted.options)
    return [Record(f"{wanted.generator}:{i}", item) for i, item in enumerate(items)]


def _downloaded(
    wanted: Download, base: Path, folder: Path | None, watch: Watch | None
) -> list[Record]:
    if folder is None:
        root, paths = download.cache_folder(wanted.url), download.fetch(wanted, base, watch)
    else:
        root, paths = folder, download.find(wanted, base, folder)
    if all(path.suffix.lower() in pictures.SUFFIXES for path in paths):
        return images.records(paths, root)
    return tables.read_all(paths, root)


def _kept(found: Sequence[Record], where: Mapping[str, Sequence[str]]) -> list[Record]:
    kept = [row for row in found if all(cell(row, column) in where[column] for column in where)]
    if not kept:
        held = {column: sorted({cell(row, column) for row in found})[:10] for column in where}
        exist = "; ".join(f"{column!r} holds {', '.join(held[column])}" for column in held)
        asked = ", ".join(f"{column}: {' or '.join(where[column])}" for column in where)
        raise ContrastError(f"where ({asked}) keeps none of {len(found)} rows; {exist}")
    return kept
