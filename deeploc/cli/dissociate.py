"""``deeploc dissociate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deeploc.cli import _completion, _options

if TYPE_CHECKING:
    from deeploc.report.dissociation import Dissociated
    from deeploc.report.lesion_matrix import LesionCell, LesionTable

_COLUMN = 13
"""Characters of a column of the lesion matrix."""


@click.command("dissociate")
@click.argument(
    "first", type=click.Path(path_type=Path), shell_complete=_completion.runs, metavar="RUN"
)
@click.argument(
    "second", type=click.Path(path_type=Path), shell_complete=_completion.runs, metavar="RUN"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="The folder to write."
)
@click.option(
    "--controls",
    type=click.IntRange(min=2),
    help="Number of matched random sets of each mask.  [default: as many as the contrasts ask "
    "for, at least 20 per kind of site less one]",
)
@_options.hardware
@_options.as_json
@_options.quiet
def command(
    first: Path,
    second: Path,
    output: Path | None,
    *,
    controls: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Test if the units of two runs harm their own tasks only.

    The RUNs are of one model. The units that decide the verdict of each are ablated, and so are
    matched random sets; the tasks of both are measured. Scores of the runs are used again. Without
    -o the folder is runs/dissociate-RUN-RUN.
    """
    from deeploc.cli._console import print_json
    from deeploc.cli._progress import Console
    from deeploc.dissociate import default_folder, dissociate_runs
    from deeploc.report.dissociation import to_json

    folder = output or default_folder(first, second)
    hardware = _options.hardware_of(options)
    made = dissociate_runs((first, second), folder, hardware, Console(quiet), controls=controls)
    if as_json:
        print_json({"folder": str(folder), **to_json(made)})
    else:
        _print(made, folder)


def _print(made: "Dissociated", folder: Path) -> None:
    import textwrap

    from deeploc.cli._console import width
    from deeploc.report.dissociation import RULE, answer_of, lines_of, tables_of

    columns = min(width(), 80)
    for title, table in tables_of(made).items():
        _print_table(title, table, columns)
    click.echo("value (z: damage beyond random sets in their SDs)\n")
    for kind in made.matrix.rows:
        click.echo(_fill(answer_of(kind, made), columns))
        for line in lines_of(kind, made):
            click.echo(textwrap.indent(_fill(line, columns - 2), "  "))
    click.echo(f"\n{textwrap.fill(RULE, columns)}\n")
    click.echo(f"numbers: {folder / 'dissociation.json'}")
    click.echo(f"page:    {folder / 'dissociation.html'}")


def _fill(text: str, width: int) -> str:
    import textwrap

    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _print_table(title: str, table: "LesionTable", width: int) -> None:
    """Print a lesion matrix in as many blocks of columns as the width asks for."""
    from deeploc.cli._console import print_table, shorten
    from deeploc.report.text import format_number

    longest = max(len(row.label) for rows in table.groups.values() for row in rows)
    label = min(max(longest + 2, len("nothing ablated")), width - 2 * (_COLUMN + 2))
    per_block = max((width - label) // (_COLUMN + 2), 1)
    for first in range(0, len(table.columns), per_block):
        shown = range(first, min(first + per_block, len(table.columns)))
        rows = [["nothing ablated", *(format_number(table.intact[i]) for i in shown)]]
        for group, of_kind in table.groups.items():
            rows.append([shorten(group, width)])
            rows += [
                [f"  {shorten(row.label, label - 2)}", *(_cell(row.cells[i]) for i in shown)]
                for row in of_kind
            ]
        heads = _heads([table.columns[i] for i in shown])
        click.echo(title)
        print_table(heads[0], [*heads[1:], *rows], n_numeric=len(shown))
        click.echo()


def _heads(labels: "list[str]") -> list[list[str]]:
    """Return the lines of column headings, each column broken between words."""
    import textwrap

    lines = [textwrap.wrap(label, _COLUMN) for label in labels]
    n = max(map(len, lines))
    padded = [[""] * (n - len(column)) + column for column in lines]
    return [["", *row] for row in zip(*padded, strict=True)]


def _cell(cell: "LesionCell | None") -> str:
    from deeploc.report.lesion_matrix import z_text
    from deeploc.report.text import format_number

    if cell is None:
        return "-"
    value = format_number(cell.value)
    return value if cell.z != cell.z else f"{value} ({z_text(cell.z)})"
