"""From sources to records: the rows, items and image files of a source, and which are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deeploc.contrast.sources import Builtin, Download, Source
from deeploc.errors import ContrastError, nearest
from deeploc.generators.registry import generate
from deeploc.progress import Watch
from deeploc.stimuli import download, hub, labels, tables
from deeploc.stimuli import hub_folder as copies
from deeploc.stimuli import image_decode as pictures
from deeploc.stimuli import image_files as images
from deeploc.stimuli.sampling import sample
from deeploc.stimuli.stimulus import Record, Table, cell


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
    found = Reader(base, folder).rows(source, seed, name)
    return [
        replace(row, fields={**row.fields, "image": str(row.folder / row.fields["image"])})
        if row.folder and row.fields.get("image")
        else row
        for row in found
    ]


@dataclass(frozen=True)
class Reader:
    """Reads sources, each table or data set once for all the conditions that it serves.

    Relative paths start at ``base``, or at ``folder`` where there is one (``--stimuli``).
    """

    base: Path
    folder: Path | None = None
    watch: Watch | None = None
    _known: dict[str, Table] = field(default_factory=dict, repr=False)

    def rows(self, source: Source, seed: int, name: str) -> list[Record]:
        """Return what `records` does, with the cells of tables as they stand there.

        Raises
        ------
        ContrastError
            As `records` does.
        """
        source = source if self.folder is None else rooted(source)
        found = self._read(source)
        kept = _kept(found, labels.asked(source.where or {}, found.names))
        return sample(kept, source.limit, seed, name)

    def _read(self, source: Source) -> Table:
        if source.texts is not None:
            texts = enumerate(source.texts)
            return Table([Record(f"texts:{i}", {"text": text}) for i, text in texts])
        if source.builtin is not None:
            return _generated(source.builtin, None if source.where else source.limit)
        key = _key(source)
        if key not in self._known:
            found, declared = self._found(source), source.names or {}
            rows = labels.named(found.records, declared, found.names)
            self._known[key] = replace(found, records=rows, names={**found.names, **declared})
        return self._known[key]

    def _found(self, source: Source) -> Table:
        root = self.base if self.folder is None else self.folder
        if source.hub is not None:
            return self._of_hub(source)
        if source.download is not None:
            return _downloaded(source.download, self.base, self.folder, self.watch)
        if source.images is not None:
            return Table(images.records(images.find(source.images, root), root))
        return _tables(tables.find(source.file or (), root), root, source.per or "line")

    def _of_hub(self, source: Source) -> Table:
        if self.folder is None:
            return hub.read(source, self.base)
        txt: tables.Txt = "labelled" if source.where or source.names else "line"
        return _tables(copies.find(source, self.folder), self.folder, txt)


def _key(source: Source) -> str:
    """Return what decides the rows that are read, before any of them is chosen."""
    if source.streaming:
        return source.model_dump_json()
    labelled = bool(source.where)
    return f"{labelled} {source.model_dump_json(exclude={'column', 'where', 'limit', 'local'})}"


def rooted(source: Source) -> Source:
    """Return the source as it is read from the user's own folder.

    Raises
    ------
    ContrastError
        If it is no file and does not say how it is read from one, or names an absolute path.
    """
    if source.local is not None:
        names = source.names if source.local.file else None
        local = {"names": names, **source.local.model_dump()}
        return Source(**local, limit=source.limit)
    if source.kind in ("texts", "builtin"):
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


def _tables(paths: Sequence[Path], root: Path, txt: tables.Txt) -> Table:
    return Table(tables.read_all(paths, root, txt), tables.class_names(paths))


def _generated(wanted: Builtin, n: int | None) -> Table:
    items = generate(wanted.generator, n, wanted.seed, wanted.options)
    return Table([Record(f"{wanted.generator}:{i}", item) for i, item in enumerate(items)])


def _downloaded(wanted: Download, base: Path, folder: Path | None, watch: Watch | None) -> Table:
    if folder is None:
        root, paths = download.root_of(wanted), download.fetch(wanted, base, watch)
    else:
        root, paths = folder, download.find(wanted, base, folder)
    if all(path.suffix.lower() in pictures.SUFFIXES for path in paths):
        return Table(images.records(paths, root))
    return _tables(paths, root, "line")


def _kept(found: Table, where: Mapping[str, Sequence[str]]) -> list[Record]:
    rows = found.records
    kept = [row for row in rows if all(cell(row, column) in where[column] for column in where)]
    held = {column: sorted({cell(row, column) for row in rows}) for column in where}
    if not kept:
        exist = "; ".join(f"{column!r} holds {', '.join(held[column][:10])}" for column in held)
        asked = ", ".join(f"{column}: {' or '.join(where[column])}" for column in where)
        raise ContrastError(f"where ({asked}) keeps none of {len(rows)} rows; {exist}")
    if found.whole:
        _all_held(where, held)
    return kept


def _all_held(where: Mapping[str, Sequence[str]], held: Mapping[str, Sequence[str]]) -> None:
    """Refuse a value that no row has: a slip of the pen would quietly make a condition smaller."""
    for column, values in where.items():
        for value in values:
            if value not in held[column]:
                raise ContrastError(
                    f"where: no row has {column} {value!r}; {nearest(value, held[column])}there "
                    f"are: {', '.join(held[column][:10])}; leave out what is not there"
                )
