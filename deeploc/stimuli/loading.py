"""From sources to records, from records to stimuli, and stimuli into two halves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from deeploc.errors import ContrastError
from deeploc.stimuli import download, tables
from deeploc.stimuli.builtin import generate
from deeploc.stimuli.sources import Builtin, Source, sample, substream
from deeploc.stimuli.stimulus import Record, Stimulus
from deeploc.strict import nearest

Halves = tuple[dict[str, tuple[Stimulus, ...]], dict[str, tuple[Stimulus, ...]]]


@runtime_checkable
class Lowercases(Protocol):
    """The part of a read-out that loading needs."""

    @property
    def lowercase(self) -> bool:
        """Whether texts are lowercased."""
        ...


@runtime_checkable
class HasConditions(Protocol):
    """The part of a contrast that loading needs (a `deeploc.contrast.Contrast` has it)."""

    @property
    def modality(self) -> str:
        """``text`` or ``image``."""
        ...

    @property
    def conditions(self) -> Mapping[str, Source]:
        """Condition name -> source."""
        ...

    @property
    def read(self) -> Lowercases:
        """The read-out."""
        ...

    @property
    def base(self) -> Path:
        """Where relative paths start."""
        ...

    def fault(self, path: tuple[str | int, ...], message: str) -> ContrastError:
        """Return an error about the value at ``path``."""
        ...


def load(
    contrast: HasConditions, *, seed: int, limit: int | None = None, folder: Path | None = None
) -> dict[str, tuple[Stimulus, ...]]:
    """Return the stimuli of every condition, in the order of their sources.

    ``limit`` bounds the stimuli per condition beside each one's own limit; both are drawn with
    ``seed`` and the condition's name. With ``folder`` the conditions are read from there.

    Raises
    ------
    ContrastError
        If a source cannot be read, a text is empty, or a condition has fewer than two stimuli.
    """
    if contrast.modality != "text":
        raise contrast.fault(("modality",), "images cannot be read yet; modality must be 'text'")
    loaded = {}
    for name, source in contrast.conditions.items():
        try:
            texts = _texts(source, contrast, folder, seed, name)
            loaded[name] = tuple(sample(texts, limit, seed, name))
            _enough(loaded[name])
        except ContrastError as error:
            message = f"condition {name!r}: {error}"
            raise contrast.fault(("conditions", name), message) from error
    return loaded


def records(
    source: Source, *, base: Path, folder: Path | None = None, seed: int = 0, name: str = ""
) -> list[Record]:
    """Return the records of a source that ``where`` keeps, at most its own ``limit`` of them.

    Relative paths start at ``base``. With ``folder``, files are looked for there instead and a
    source that is no file is read as its ``local`` says. The limit is drawn with ``seed`` and
    ``name``.

    Raises
    ------
    ContrastError
        If the source cannot be read or ``where`` keeps nothing; names file and line.
    """
    source = source if folder is None else rooted(source)
    kept = _kept(_read(source, base, folder), source.where or {})
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
    if source.kind not in ("file", "download"):
        raise ContrastError(
            f"its source is {source.kind!r}, which no folder can replace unless the contrast says "
            "how, e.g. `local: {file: '*.txt'}`; add that, or leave --stimuli out"
        )
    for pattern in source.file or ():
        if Path(pattern).is_absolute():
            raise ContrastError(
                f"{pattern!r} is an absolute path, which --stimuli cannot move; make it relative"
            )
    return source


def split_half(stimuli: Mapping[str, Sequence[Stimulus]], seed: int) -> Halves:
    """Return (stimuli to localize with, stimuli to evaluate on), a random half each.

    The first half has one more where their number is odd. Stimuli of one condition with the same
    content land in the same half, so that nothing is evaluated on what it was localized with;
    with many such repeats the halves can differ in size. Each keeps the order of ``stimuli``.
    """
    halves: Halves = ({}, {})
    for name, group in stimuli.items():
        first = _first_half(group, seed, name)
        halves[0][name] = tuple(s for s in group if s.content in first)
        halves[1][name] = tuple(s for s in group if s.content not in first)
    return halves


def _first_half(group: Sequence[Stimulus], seed: int, name: str) -> set[str | Path]:
    repeats = Counter(stimulus.content for stimulus in group)
    contents = list(repeats)
    room = (len(group) + 1) // 2
    first = set()
    for index in substream(seed, f"split:{name}").permutation(len(contents)):
        if repeats[contents[index]] <= room:
            room -= repeats[contents[index]]
            first.add(contents[index])
    return first


def _read(source: Source, base: Path, folder: Path | None) -> list[Record]:
    if source.texts is not None:
        return [Record(f"texts:{i}", {"text": text}) for i, text in enumerate(source.texts)]
    if source.builtin is not None:
        return _generated(source.builtin, None if source.where else source.limit)
    root = base if folder is None else folder
    if source.download is None:
        return tables.read_all(tables.find(source.file or (), root), root)
    if folder is not None:
        return tables.read_all(download.find(source.download, base, folder), folder)
    cache = download.cache_folder(source.download.url)
    return tables.read_all(download.fetch(source.download, base), cache)


def _generated(wanted: Builtin, n: int | None) -> list[Record]:
    rows = generate(wanted.generator, n, wanted.seed, wanted.options)
    return [Record(f"{wanted.generator}:{i}", row) for i, row in enumerate(rows)]


def _kept(rows: Sequence[Record], where: Mapping[str, Sequence[str]]) -> list[Record]:
    kept = [row for row in rows if all(_cell(row, column) in where[column] for column in where)]
    if not kept:
        held = {column: sorted({_cell(row, column) for row in rows})[:10] for column in where}
        exist = "; ".join(f"{column!r} holds {', '.join(held[column])}" for column in held)
        asked = ", ".join(f"{column}: {' or '.join(where[column])}" for column in where)
        raise ContrastError(f"where ({asked}) keeps none of {len(rows)} rows; {exist}")
    return kept


def _texts(
    source: Source, contrast: HasConditions, folder: Path | None, seed: int, name: str
) -> list[Stimulus]:
    rows = records(source, base=contrast.base, folder=folder, seed=seed, name=name)
    columns = (source if folder is None else rooted(source)).column
    stimuli = []
    for row in rows:
        text = _text(row, columns or (_default_column(row),))
        stimuli.append(Stimulus(row.id, text.lower() if contrast.read.lowercase else text))
    return stimuli


def _default_column(row: Record) -> str:
    if "text" in row.fields or len(row.fields) == 1:
        return "text" if "text" in row.fields else next(iter(row.fields))
    raise ContrastError(
        f"{row.id}: which column is the text? there are {', '.join(row.fields)}; "
        "name one or several with `column:`"
    )


def _text(row: Record, columns: Sequence[str]) -> str:
    cells = (_cell(row, column).strip() for column in columns)
    text = " ".join(cell for cell in cells if cell)
    if not text:
        raise ContrastError(
            f"{row.id}: no text in {', '.join(columns)}; fill the row, or leave it out"
        )
    return text


def _cell(row: Record, column: str) -> str:
    if column not in row.fields:
        raise ContrastError(
            f"{row.id}: no column {column!r}; {nearest(column, row.fields)}"
            f"there are: {', '.join(row.fields)}"
        )
    return row.fields[column]


def _enough(stimuli: Sequence[Stimulus]) -> None:
    if len(stimuli) < 2:
        raise ContrastError(
            f"only {len(stimuli)} stimulus; a variance needs at least two; add some, or raise "
            "its limit"
        )
