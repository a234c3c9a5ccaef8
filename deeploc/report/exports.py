"""Figures and tables of a run as files in its folder."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from deeploc.atomic import write
from deeploc.errors import RunError
from deeploc.report.gallery import gallery_of
from deeploc.report.run_tables import Rows, tables_of
from deeploc.report.svg import ImageFormat
from deeploc.runs.folder import RunFolder
from deeploc.runs.lock import locked
from deeploc.runs.saved_run import SavedRun

TableFormat = Literal["csv", "parquet"]
"""A format of tables as files."""

FIGURES, TABLES = "figures", "tables"
"""The folders of a run that hold them."""

_FIGURE_NAMES = ("sites", "statistic", "profile", "dose")
_TABLE_NAMES = ("sites", "units", "responses", "effects", "scores", "verdict")


def export_run(
    folder: Path, figures: Collection[ImageFormat] = (), tables: Collection[TableFormat] = ()
) -> list[Path]:
    """Write figures and tables of a run into its folder, without its model; return their paths.

    Parameters
    ----------
    folder
        The run folder.
    figures
        Formats of the figures, in ``RUN/figures``.
    tables
        Formats of the tables, in ``RUN/tables``.

    Raises
    ------
    RunError
        If the folder is no run, or a file cannot be read or written.
    """
    if not figures and not tables:
        return []
    with locked(folder):
        contents = _contents(SavedRun(RunFolder(folder)), figures, tables)
        return [_written(folder / place, content) for place, content in contents]


def remove_exports(folder: Path) -> None:
    """Remove figures and tables of a run, and nothing else that may lie beside them.

    Parameters
    ----------
    folder
        The run folder.
    """
    patterns = [f"{FIGURES}/{n}-*.{end}" for n in _FIGURE_NAMES for end in ("svg", "png")]
    patterns += [f"{TABLES}/{name}.{end}" for name in _TABLE_NAMES for end in _WRITERS]
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _written(path: Path, content: bytes) -> Path:
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    write(path, content)
    return path


def _contents(
    run: SavedRun, figures: Collection[ImageFormat], tables: Collection[TableFormat]
) -> Iterator[tuple[str, bytes]]:
    """Yield the place in the run folder and the content of every file."""
    if figures:
        for name, plot in gallery_of(run).by_name().items():
            for image_format in figures:
                yield f"{FIGURES}/{_file_name(name)}.{image_format}", plot.image(image_format)
    if tables:
        for name, rows in tables_of(run).items():
            for table_format in tables:
                yield f"{TABLES}/{name}.{table_format}", _WRITERS[table_format](rows)


def _file_name(name: str) -> str:
    """Return a name in which nothing leaves the folder."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(rows)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return cast(bytes, sink.getvalue().to_pybytes())


_WRITERS: Mapping[str, Callable[[Rows], bytes]] = {"csv": _csv, "parquet": _parquet}
