"""The user's own folder with the files of a data set of the hub: which of them are its rows."""

import logging
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from deeploc.contrast.sources import Source
from deeploc.errors import ContrastError
from deeploc.stimuli import tables
from deeploc.stimuli.stimulus import sha256_of

FORMATS = (".parquet", ".jsonl", ".csv", ".tsv", ".txt")
"""Where a split exists in several formats, the first of these is read."""

_log = logging.getLogger(__name__)


def find(source: Source, folder: Path) -> list[Path]:
    """Return the tables in ``folder``, at any depth, that hold the rows of a ``hub`` source.

    Files whose names begin with the name of the split are taken, if there are any, else all
    tables; in a folder named like the config, if there are such, else anywhere. So that no row
    counts twice, only one format of `FORMATS` is read, which is reported in a warning, and of
    files with the same bytes the first.

    Parameters
    ----------
    source
        A source whose kind is ``hub``.
    folder
        The user's folder.

    Raises
    ------
    ContrastError
        If there is no table in ``folder``.
    """
    files = [path for path in sorted(folder.rglob("*")) if _is_table(path, folder)]
    if not files:
        raise ContrastError(
            f"no {', '.join(FORMATS)} file in {folder}; put the files of {source.hub} there, with "
            "the names they have on the hub, or as tables with the same columns"
        )
    inside = [p for p in files if source.config in p.relative_to(folder).parts[:-1]] or files
    split = [path for path in inside if path.name.startswith(str(source.split))] or inside
    return _different(_of_one_format(split))


def _is_table(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in tables.SUFFIXES and not hidden and path.is_file()


def _of_one_format(paths: Sequence[Path]) -> list[Path]:
    ranked = sorted(paths, key=_rank)
    first, *others = [list(group) for _, group in groupby(ranked, key=_rank)]
    if others:
        _log.warning(
            "%s is read; %s in another format is assumed to be a duplicate and is not read",
            first[0].name,
            others[0][0].name,
        )
    return first


def _rank(path: Path) -> int:
    return FORMATS.index(path.suffix.lower())


def _different(paths: Sequence[Path]) -> list[Path]:
    if len(paths) == 1:
        return list(paths)
    by_content = {sha256_of(path): path for path in reversed(paths)}
    return sorted(by_content.values(), key=paths.index)
