"""The stimuli that drive the selected units most and least: their table, and where they do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int

from deeploc.core.csv_rows import from_table, to_table

N_SHOWN = 8
"""How many stimuli are kept at either end; of fewer than twice as many, half of them."""

End = Literal["most", "least"]
ENDS: tuple[End, ...] = get_args(End)

Order = Int[np.ndarray, " _"]  # the ends differ in length
Maps = Float64[np.ndarray, "_ _ _"]  # kinds of site differ in size
"""Where in each stimulus the units respond, (stimulus, row, column)."""


@dataclass(frozen=True, slots=True)
class DrivingStimulus:
    """One row of driving-stimuli.csv: a stimulus at one end of the order by mean z.

    ``rank`` counts from 1, the stimulus with the largest ``z``, the mean over the selected units of
    a kind of site, as in the response profile. A text is there itself; ``read_from`` and
    ``read_to`` are the first character, and that after the last, of what is read of it; None where
    the adapter does not tell.
    """

    sites: str
    end: End
    rank: int
    condition: str
    stimulus: str
    z: float
    read_from: int | None = None
    read_to: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Driven:
    """What is known of the order at one kind of site.

    ``n_stimuli`` are ranked by ``n_units`` selected units. ``n_placed`` of these are at sites whose
    positions are places in the image; ``missing`` says why no map was made, where it was not.
    """

    sites: str
    n_stimuli: int
    n_units: int
    n_placed: int = 0
    missing: str = ""


@dataclass(frozen=True)
class DrivingStimuli:
    """The stimuli at both ends of the order, for every kind of site with selected units.

    Parameters
    ----------
    kinds
        What is known of each kind of site.
    rows
        Their stimuli, the first of each end first.
    pictures
        (Condition, id) -> an image as the network is shown it, made small, as the bytes of a JPEG.
    maps
        Kind of site -> a map per row of it; all nan where none was made.
    """

    kinds: Sequence[Driven]
    rows: Sequence[DrivingStimulus]
    pictures: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    maps: Mapping[str, Maps] = field(default_factory=dict)

    def of(self, sites: str) -> list[DrivingStimulus]:
        """Return the rows of a kind of site.

        Parameters
        ----------
        sites
            The kind of site.
        """
        return [row for row in self.rows if row.sites == sites]


def ends_of(z: Float64[np.ndarray, " stimulus"]) -> dict[End, Order]:
    """Return the stimuli with the largest and with the smallest z, the outermost first.

    Of equal z the earlier stimulus counts as the larger one. What is not finite has no place.

    Parameters
    ----------
    z
        Of every stimulus.

    Examples
    --------
    >>> {end: order.tolist() for end, order in ends_of(np.array([0.0, 2.0, np.nan, 2.0])).items()}
    {'most': [1, 3], 'least': [0]}
    """
    finite = np.flatnonzero(np.isfinite(z))
    order = finite[np.argsort(-z[finite], kind="stable")]
    n_least = min(N_SHOWN, len(order) // 2)
    n_most = min(N_SHOWN, len(order) - n_least)
    return {"most": order[:n_most], "least": order[::-1][:n_least]}


def distinct(rows: Iterable[DrivingStimulus]) -> list[tuple[str, str]]:
    """Return (condition, id) of every stimulus of some rows, each once, in their order.

    Parameters
    ----------
    rows
        Of any kinds of site.
    """
    return list(dict.fromkeys((row.condition, row.stimulus) for row in rows))


_COLUMNS = [column.name for column in fields(DrivingStimulus)]


def to_csv(rows: Iterable[DrivingStimulus]) -> str:
    """Return driving-stimuli.csv: one row per stimulus, floats so that they read back unchanged.

    Parameters
    ----------
    rows
        The stimuli.
    """
    return to_table(rows, _COLUMNS)


def from_csv(text: str) -> list[DrivingStimulus]:
    """Return the stimuli that ``to_csv`` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the text is of another form.
    """
    return [_row(row) for row in from_table(text, _COLUMNS)]


def _row(row: Mapping[str, str]) -> DrivingStimulus:
    if row["end"] not in ENDS:
        raise ValueError(f"end {row['end']!r} is none of {', '.join(ENDS)}")
    read = {name: int(row[name]) if row[name] else None for name in ("read_from", "read_to")}
    values: dict[str, Any] = {**row, **read, "rank": int(row["rank"]), "z": float(row["z"])}
    return DrivingStimulus(**values)
