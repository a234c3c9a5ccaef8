"""The first of the selected units as a table."""

import csv
from itertools import islice
from pathlib import Path

from deeploc.errors import RunError
from deeploc.report.text import format_number

_N_UNITS = 20
"""Most units in the table of selected units."""


def first_units(path: Path) -> list[dict[str, str]]:
    """Return the first rows of units.csv, numbers shortened; none where there is no such file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    RunError
        If it is broken.
    """
    names = ("site", "index")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), _N_UNITS))
        return [
            {
                key: value if key in names else format_number(float(value))
                for key, value in r.items()
            }
            for r in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} is broken: {error}; localize again") from error
