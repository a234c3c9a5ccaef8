"""Measurements and scores: what a task returns, and the rows of scores.csv."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from deeploc.core.bootstrap import intervals
from deeploc.core.controls import MaskLabel

Better = Literal["higher", "lower"]

INTACT = "none"
"""What the columns of scores.csv say of the intact model."""


@dataclass(frozen=True)
class Measurement:
    """One metric of one condition, item by item.

    The value is ``sum(amount) / sum(weight)``, its exponential where ``exponential``: with unit
    weights a mean over items, with token counts as weights a mean per token (and perplexity its
    exponential). Both arrays are ``(item,)``.
    """

    metric: str
    condition: str
    amount: Float[np.ndarray, " item"]
    weight: Float[np.ndarray, " item"]
    exponential: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One ablation of an evaluation, by name; the intact model is ``Cell()``.

    Parameters
    ----------
    sites
        The kind of site whose units are ablated.
    mode
        ``zero``, ``mean``, ``resample``, ``noise``, ``scale:G``, ``add`` or ``add:G``; ``read`` of
        units that were read in the intact model.
    percent
        How many per cent of the units of that kind are ablated, or read.
    mask
        ``selected`` (the contrast's own selection), ``top`` (a dose from the top of the ranking),
        or the name of a control, e.g. ``random-3``.
    control_of
        For a control ``selected`` or ``top``, the mask that it is a control of; else empty.
    """

    sites: str = INTACT
    mode: str = INTACT
    percent: float = 0.0
    mask: str = INTACT
    control_of: str = ""

    @property
    def label(self) -> MaskLabel:
        """The mask as kind and index."""
        return MaskLabel.parse(self.mask)


@dataclass(frozen=True, slots=True)
class Score:
    """One row of scores.csv.

    Parameters
    ----------
    task, metric, condition
        What was measured.
    mode, percent, mask, sites
        What was ablated, see `Cell`.
    value
        The metric, over ``n`` items.
    ci_low, ci_high
        The ends of its 95 % bootstrap interval over items.
    key
        Hash of the units, offsets, mode and sites that were ablated (`Ablation.key`); ``none``
        for the intact model.
    task_key
        Hash of the model, the items and the options of the task.
    control_of
        For a control the mask that it is a control of; else empty.
    mask_kind, mask_index
        The kind of the mask and its number; empty where there is one of the kind.
    """

    task: str
    metric: str
    condition: str
    mode: str
    percent: float
    mask: str
    value: float
    n: int
    ci_low: float
    ci_high: float
    sites: str = INTACT
    key: str = INTACT
    task_key: str = ""
    control_of: str = ""
    mask_kind: str = INTACT
    mask_index: int | None = None


def scores_of(
    measurements: Sequence[tuple[str, Measurement]],
    cell: Cell,
    seed: int = 0,
    *,
    key: str = INTACT,
    task_keys: Mapping[str, str] | None = None,
) -> list[Score]:
    """Return the values of measurements with their bootstrap intervals over items.

    Parameters
    ----------
    measurements
        Name of the task and what it measured, of one cell.
    cell
        What was ablated, by name.
    seed
        Of the resamples, see `deeploc.core.bootstrap.intervals`.
    key
        What was ablated, as a hash.
    task_keys
        Task -> hash of what decides its numbers.
    """
    bounds = intervals([measurement for _, measurement in measurements], seed)
    keys = task_keys or {}
    return [
        Score(
            task,
            measurement.metric,
            measurement.condition,
            cell.mode,
            cell.percent,
            cell.mask,
            interval.value,
            len(measurement.amount),
            interval.low,
            interval.high,
            cell.sites,
            key,
            keys.get(task, ""),
            cell.control_of,
            cell.label.kind,
            cell.label.index,
        )
        for (task, measurement), interval in zip(measurements, bounds, strict=True)
    ]


_COLUMNS = [field.name for field in fields(Score)]
_PARSERS: Mapping[str, Any] = {
    "percent": float,
    "value": float,
    "n": int,
    "ci_low": float,
    "ci_high": float,
    "mask_index": lambda text: int(text) if text else None,
}


def to_csv(scores: Iterable[Score]) -> str:
    """Return scores.csv: one row per score, floats written so that they read back unchanged."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(map(attrgetter(*_COLUMNS), scores))
    return text.getvalue()


def from_csv(text: str) -> list[Score]:
    """Return the scores that ``to_csv`` wrote.

    Raises
    ------
    ValueError
        If the text is no such table.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        if reader.fieldnames != _COLUMNS:
            raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
        return [
            Score(**{key: _PARSERS.get(key, str)(value) for key, value in row.items()})
            for row in reader
        ]
    except (TypeError, KeyError, csv.Error) as error:
        raise ValueError(f"a row is no score: {error}") from None
