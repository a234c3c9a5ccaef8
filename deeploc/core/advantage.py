"""Advantages: what selected units tell, beside as many units at random."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deeploc.core.controls import is_matched
from deeploc.core.multiplicity import empirical_p
from deeploc.core.results import Better, Score
from deeploc.core.unit_task import READ


@dataclass(frozen=True)
class Advantage:
    """One metric of a task that is measured on units, against its controls.

    Parameters
    ----------
    task, metric, condition
        What was measured.
    sites, percent, mask
        The units that were read; ``mask`` is ``selected`` or ``top``.
    better
        Whether higher or lower values are better.
    value, ci_low, ci_high
        The value of these units and its 95 % bootstrap interval.
    n_items
        The number of items (passages or stimuli) that it was measured on.
    controls
        The values of the matched random masks.
    others
        The values of further masks (``bottom``, ``random-global-0``, ...) by name.
    """

    task: str
    metric: str
    condition: str
    sites: str
    percent: float
    mask: str
    better: Better
    value: float
    ci_low: float
    ci_high: float
    n_items: int
    controls: tuple[float, ...]
    others: tuple[tuple[str, float], ...] = ()

    @property
    def p(self) -> float:
        """Empirical p: the share of controls (and the units themselves) that are as good.

        One-sided, not corrected: (1 + controls at least as good) / (1 + controls), Phipson & Smyth
        (2010), doi:10.2202/1544-6115.1585. nan without controls.
        """
        sign = 1.0 if self.better == "higher" else -1.0
        if not self.controls:
            return float("nan")
        return empirical_p(sign * self.value, [sign * value for value in self.controls])


def advantages(
    scores: Iterable[Score], better: Mapping[str, Mapping[str, Better]]
) -> list[Advantage]:
    """Return one advantage per task, metric, condition and mask, in the order of the scores.

    Parameters
    ----------
    scores
        Rows of one run; those of ablations are passed over.
    better
        Task -> metric -> which direction is good.
    """
    groups: dict[tuple[str, ...], list[Score]] = {}
    for row in scores:
        if row.mode == READ and row.metric in better.get(row.task, {}):
            mask = row.control_of or row.mask
            outcome = (row.task, row.metric, row.condition)
            groups.setdefault((*outcome, row.sites, repr(row.percent), mask), []).append(row)
    return [
        _advantage(own, rows, better[own.task][own.metric])
        for rows in groups.values()
        for own in rows
        if not own.control_of
    ]


def _advantage(own: Score, rows: Sequence[Score], better: Better) -> Advantage:
    return Advantage(
        own.task,
        own.metric,
        own.condition,
        own.sites,
        own.percent,
        own.mask,
        better,
        own.value,
        own.ci_low,
        own.ci_high,
        own.n,
        tuple(row.value for row in rows if is_matched(row.mask_kind)),
        tuple(
            (row.mask, row.value)
            for row in rows
            if row.control_of and not is_matched(row.mask_kind)
        ),
    )
