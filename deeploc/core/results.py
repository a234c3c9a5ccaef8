"""Measurements, scores and effects: what a task returns and what is concluded from it."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deeploc.core.stats import empirical_p

Better = Literal["higher", "lower"]

INTACT = "none"
"""The ``mask`` and ``mode`` of a score that was measured on the intact model."""

N_BOOTSTRAP = 1000
ALPHA = 0.05


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
    """What was ablated when a score was measured; the intact model is ``Cell()``."""

    sites: str = INTACT
    mode: str = INTACT
    percent: float = 0.0
    mask: str = INTACT


@dataclass(frozen=True, slots=True)
class Score:
    """One row of scores.csv; ``ci_low`` and ``ci_high`` bound the 95 % bootstrap interval."""

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

    @property
    def cell(self) -> Cell:
        """Which ablation this score belongs to."""
        return Cell(self.sites, self.mode, self.percent, self.mask)


def score(task: str, measurement: Measurement, cell: Cell, seed: int = 0) -> Score:
    """Return the value of a measurement with its bootstrap interval over items.

    Source: percentile bootstrap, Efron & Tibshirani (1993), ch. 13; 1,000 resamples of the
    items, the same ones for every score of equal n so that intervals are comparable.
    """
    m = measurement
    drawn = _resamples(len(m.amount), seed)
    value = _value(m, np.ones((1, len(m.amount)), dtype=np.int64)).item()
    # an observed resample, not one interpolated: between inf and a number there is nothing
    low, high = np.percentile(_value(m, drawn), [2.5, 97.5], method="nearest").tolist()
    place = (task, m.metric, m.condition, cell.mode, cell.percent, cell.mask)
    return Score(*place, value, len(m.amount), low, high, cell.sites)


def _value(
    m: Measurement, counts: Int[np.ndarray, "resample item"]
) -> Float[np.ndarray, " resample"]:
    finite = np.isfinite(m.amount)
    total = counts @ np.where(finite, m.amount, 0.0)
    # 0 * inf is nan: an item that was not drawn must not count, one that was makes it infinite
    total = np.where(counts[:, ~finite].any(axis=1), m.amount[~finite].sum(), total)
    with np.errstate(over="ignore"):
        ratio: Float[np.ndarray, " resample"] = total / (counts @ m.weight)
        return np.exp(ratio) if m.exponential else ratio


@lru_cache(maxsize=16)
def _resamples(n: int, seed: int) -> Int[np.ndarray, "resample item"]:
    rng = np.random.default_rng([seed, n])
    return rng.multinomial(n, np.full(n, 1 / n), size=N_BOOTSTRAP)


@dataclass(frozen=True)
class Effect:
    """What ablating the selected units did to one metric, against its controls.

    ``controls`` are the values under the matched random masks, ``others`` those under further
    masks (``bottom``, ``range``, ``random-global-0``, ...) by name.
    """

    task: str
    metric: str
    condition: str
    sites: str
    mode: str
    percent: float
    better: Better
    intact: float
    ablated: float
    controls: tuple[float, ...]
    others: tuple[tuple[str, float], ...] = ()

    def damage(self, value: float) -> float:
        """Return how much worse ``value`` is than the intact one, in units of the metric.

        A value that is no number is infinitely worse; one that stayed infinite is not worse.
        """
        if np.isnan(value):
            return np.inf
        if value == self.intact:
            return 0.0
        return value - self.intact if self.better == "lower" else self.intact - value

    @property
    def p(self) -> float:
        """Empirical p: the share of controls (and the ablation itself) at least as damaging."""
        return empirical_p(self.damage(self.ablated), [self.damage(c) for c in self.controls])

    @property
    def verdict(self) -> str:
        """One phrase: ``specific``, ``as random``, ``unharmed`` or ``too few controls``.

        ``specific`` is damage that fewer than 5 % of matched random controls reach.
        """
        if self.damage(self.ablated) <= 0:
            return "unharmed"
        if 1 / (1 + len(self.controls)) > ALPHA:
            return "too few controls"
        return "specific" if self.p <= ALPHA else "as random"


def effects(scores: Iterable[Score], better: Mapping[str, Mapping[str, Better]]) -> list[Effect]:
    """Return one effect per task, metric, condition and ablation, in the order of the scores.

    ``better`` says for each task and metric which direction is good.
    """
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for row in scores:
        groups.setdefault((row.task, row.metric, row.condition), []).append(row)
    return [
        effect
        for (task, metric, _), rows in groups.items()
        for effect in _effects_of(rows, better[task][metric])
    ]


def _effects_of(rows: Sequence[Score], better: Better) -> list[Effect]:
    intact = next((row.value for row in rows if row.mask == INTACT), None)
    ablations: dict[tuple[str, str, float], dict[str, float]] = {}
    for row in rows:
        if row.mask != INTACT:
            ablations.setdefault((row.sites, row.mode, row.percent), {})[row.mask] = row.value
    if intact is None:
        return []
    place = (rows[0].task, rows[0].metric, rows[0].condition)
    return [
        Effect(*place, *at, better, intact, values["top"], *_split_controls(values))
        for at, values in ablations.items()
        if "top" in values
    ]


def _split_controls(
    values: Mapping[str, float],
) -> tuple[tuple[float, ...], tuple[tuple[str, float], ...]]:
    matched = tuple(v for name, v in values.items() if _is_matched(name))
    others = {n: v for n, v in values.items() if n != "top" and not _is_matched(n)}
    return matched, tuple(others.items())


def _is_matched(mask: str) -> bool:
    prefix, _, number = mask.rpartition("-")
    return prefix == "random" and number.isdecimal()


_COLUMNS = [field.name for field in fields(Score)]


def to_csv(scores: Iterable[Score]) -> str:
    """Return scores.csv: one row per score, floats written so that they read back unchanged."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in scores)
    return text.getvalue()


def from_csv(text: str) -> list[Score]:
    """Return the scores that ``to_csv`` wrote."""
    numbers = {"percent": float, "value": float, "n": int, "ci_low": float, "ci_high": float}
    return [
        Score(**{key: numbers.get(key, str)(value) for key, value in row.items()})
        for row in csv.DictReader(io.StringIO(text))
    ]
