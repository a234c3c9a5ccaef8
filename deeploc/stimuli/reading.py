"""Read the records of one source: its rows, items or image files, and which of them are kept.

`load` makes the stimuli of a contrast of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deeploc.contrast.sources import Builtin, Download, Source
from deeploc.errors import ContrastError, nearest
from deeploc.generators.registry import generate
from deeploc.progress import ProgressReporter
from deeploc.stimuli import download, hub, hub_folder, image_files, labels, tables
from deeploc.stimuli.image_decode import SUFFIXES
from deeploc.stimuli.sampling import sample
from deeploc.stimuli.stimulus import Record, Table, cell


def records(
    source: Source, *, base: Path, folder: Path | None = None, seed: int = 0, name: str = ""
) -> list[Record]:
    """Return the records of a source that ``where`` keeps, at most its own ``limit`` of them.

    An image file is a record with its absolute path as ``image`` and the name of its folder as
    ``label``; in a table, a column ``image`` becomes an absolute path too.

    Parameters
    ----------
    source
        The source of a condition or of a task's items.
    base
        The folder that relative paths start from.
    folder
        The user's folder (``--stimuli``), in which files are searched instead; a source without
        files is read as its ``local`` says.
    seed
        The seed of the run; with ``name`` it decides which records the limit keeps.
    name
        The condition.

    Raises
    ------
    ContrastError
        If the source cannot be read or ``where`` keeps nothing; names file and line.
    """
    rows = Reader(base, folder).rows(source, seed, name)
    return [
        replace(row, fields={**row.fields, "image": str(row.folder / row.fields["image"])})
        if row.folder and row.fields.get("image")
        else row
        for row in rows
    ]


@dataclass(frozen=True)
class Reader:
    """Reads sources, each table or data set once for all conditions that use it.

    Relative paths start at ``base``, or at ``folder`` where there is one (``--stimuli``).
    """

    base: Path
    folder: Path | None = None
    reporter: ProgressReporter | None = None
    _tables: dict[str, Table] = field(default_factory=dict, repr=False)

    def rows(self, source: Source, seed: int, name: str) -> list[Record]:
        """Return the records as `records` does, but relative paths in tables unchanged.

        Parameters
        ----------
        source
            The source.
        seed
            The seed of the run.
        name
            The condition.

        Raises
        ------
        ContrastError
            As `records` does.
        """
        return sample(self.every_row(source), source.limit, seed, name)

    def every_row(self, source: Source) -> list[Record]:
        """Return the records that ``where`` keeps, also those beyond the limit.

        Parameters
        ----------
        source
            The source.

        Raises
        ------
        ContrastError
            As `records` does.
        """
        source = source if self.folder is None else source_in_folder(source)
        table = self._read(source)
        return _kept(table, labels.where_labels(source.where or {}, table.names))

    def _read(self, source: Source) -> Table:
        if source.texts is not None:
            texts = enumerate(source.texts)
            return Table([Record(f"texts:{i}", {"text": text}) for i, text in texts])
        if source.builtin is not None:
            return _generated(source.builtin, None if source.where else source.limit)
        key = _key(source)
        if key not in self._tables:
            table, declared = self._read_files(source), source.names or {}
            rows = labels.with_labels(table.records, declared, table.names)
            self._tables[key] = replace(table, records=rows, names={**table.names, **declared})
        return self._tables[key]

    def _read_files(self, source: Source) -> Table:
        root = self.base if self.folder is None else self.folder
        if source.hub is not None:
            return self._read_hub(source)
        if source.download is not None:
            return _downloaded(source.download, self.base, self.folder, self.reporter)
        if source.images is not None:
            return Table(image_files.records(image_files.find(source.images, root), root))
        return _tables(tables.find(source.file or (), root), root, source.per or "line")

    def _read_hub(self, source: Source) -> Table:
        if self.folder is None:
            return hub.read(source, self.base)
        txt: tables.Txt = "labelled" if source.where or source.names else "line"
        return _tables(hub_folder.find(source, self.folder), self.folder, txt)


def _key(source: Source) -> str:
    """Return the fields that decide which rows are read, before any of them is chosen."""
    if source.streaming:
        return source.model_dump_json()
    labelled = bool(source.where)
    return f"{labelled} {source.model_dump_json(exclude={'column', 'where', 'limit', 'local'})}"


def source_in_folder(source: Source) -> Source:
    """Return the source as it is read from the user's own folder.

    Raises
    ------
    ContrastError
        If the source has no files and no ``local``, or names an absolute path.
    """
    if source.local is not None:
        names = source.names if source.local.file else None
        local = {"names": names, **source.local.model_dump()}
        return Source(**local, limit=source.limit)
    if source.kind in ("texts", "builtin"):
        raise ContrastError(
            f"its source is {source.kind!r}, which --stimuli replaces only where the contrast "
            "names the files, e.g. `local: {file: '*.txt'}`; add that, or leave --stimuli out"
        )
    for pattern in source.file or source.images or ():
        if Path(pattern).is_absolute():
            raise ContrastError(
                f"{pattern!r} is an absolute path, which --stimuli cannot move; make it relative"
            )
    return source


def _tables(paths: Sequence[Path], root: Path, txt: tables.Txt) -> Table:
    return Table(tables.read_all(paths, root, txt), tables.class_names(paths))


def _generated(builtin: Builtin, n: int | None) -> Table:
    items = generate(builtin.generator, n, builtin.seed, builtin.options)
    return Table([Record(f"{builtin.generator}:{i}", item) for i, item in enumerate(items)])


def _downloaded(
    declared: Download, base: Path, folder: Path | None, reporter: ProgressReporter | None
) -> Table:
    if folder is None:
        root, paths = download.root_of(declared), download.fetch(declared, base, reporter)
    else:
        root, paths = folder, download.find(declared, base, folder)
    if all(path.suffix.lower() in SUFFIXES for path in paths):
        return Table(image_files.records(paths, root))
    return _tables(paths, root, "line")


def _kept(table: Table, where: Mapping[str, Sequence[str]]) -> list[Record]:
    rows = table.records
    kept = [row for row in rows if all(cell(row, column) in where[column] for column in where)]
    existing = {column: sorted({cell(row, column) for row in rows}) for column in where}
    if not kept:
        exist = "; ".join(f"{c!r} holds {', '.join(held[:10])}" for c, held in existing.items())
        wanted = ", ".join(f"{column}: {' or '.join(where[column])}" for column in where)
        raise ContrastError(f"where ({wanted}) keeps none of {len(rows)} rows; {exist}")
    if table.whole:
        _check_values(where, existing)
    return kept


def _check_values(
    where: Mapping[str, Sequence[str]], existing: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a value that no row has: a spelling mistake would silently shrink a condition."""
    for column, values in where.items():
        for value in values:
            if value not in existing[column]:
                raise ContrastError(
                    f"where: no row has {column} {value!r}; {nearest(value, existing[column])}"
                    f"there are: {', '.join(existing[column][:10])}; leave out what does not exist"
                )
