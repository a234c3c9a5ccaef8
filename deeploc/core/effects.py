"""Effects: what an ablation did to an outcome, beside its controls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, nan

import numpy as np

from deeploc.core.controls import is_matched
from deeploc.core.damage import Damage, worsening
from deeploc.core.multiplicity import benjamini_hochberg, empirical_p
from deeploc.core.results import INTACT, Better, Score
from deeploc.core.stats import ALPHA

MIN_CONTROLS = ceil(1 / ALPHA) - 1
"""Fewest matched controls with which an effect can be significant: with n controls the smallest
possible p is 1 / (1 + n)."""


@dataclass(frozen=True)
class Effect:
    """What an ablation did to one metric, against its controls.

    Parameters
    ----------
    task, metric, condition
        What was measured.
    sites, mode, percent, mask
        What was ablated; ``mask`` is ``selected`` or ``top``.
    better
        Whether higher or lower values mean a better model.
    intact, ablated
        The values of the intact and of the ablated model.
    controls
        The values under the matched random masks.
    others
        The values under further masks (``bottom``, ``range-80-90``, ``random-global-0``, ...) by
        name.
    n_items
        The number of items that the metric was measured on.
    control_names
        The names of the matched random masks, in the order of ``controls``.
    q
        p, adjusted over all effects of the run (Benjamini-Hochberg); nan without controls.
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
    mask: str = "top"
    n_items: int = 1
    control_names: tuple[str, ...] = ()
    q: float = nan

    def damage(self, value: float) -> float:
        """Return how much worse ``value`` is than the intact one, in units of the metric.

        Parameters
        ----------
        value
            The metric of an ablated model, see `worsening`.
        """
        return worsening(value, self.intact, self.better)

    @property
    def p(self) -> float:
        """Empirical p: the share of controls (and the ablation itself) at least as damaging."""
        return empirical_p(self.damage(self.ablated), [self.damage(c) for c in self.controls])

    @property
    def z(self) -> float:
        """Damage beyond the mean of the matched controls, in their SDs, see `Damage.z`."""
        return self.z_of(self.ablated)

    def z_of(self, value: float) -> float:
        """Return the damage of a value beyond the mean of the matched controls, in their SDs.

        Parameters
        ----------
        value
            The metric of an ablated model, e.g. under another control.
        """
        controls = {str(number): control for number, control in enumerate(self.controls)}
        damage = Damage(self.intact, value, controls, self.better, self.metric, self.n_items)
        return damage.z(damage.observed)

    @property
    def verdict(self) -> str:
        """One phrase: ``beyond random``, ``as random``, ``unharmed`` or ``too few controls``.

        ``beyond random`` is damage that at most the share `ALPHA` of matched random controls (and
        the ablation itself) reach, which needs at least `MIN_CONTROLS` of them.
        """
        if self.damage(self.ablated) <= 0:
            return "unharmed"
        if len(self.controls) < MIN_CONTROLS:
            return "too few controls"
        return "beyond random" if self.p <= ALPHA else "as random"


def effects(scores: Iterable[Score], better: Mapping[str, Mapping[str, Better]]) -> list[Effect]:
    """Return one effect per task, metric, condition and ablation, in the order of the scores.

    Each has q, its p adjusted over all of them (Benjamini-Hochberg).

    Parameters
    ----------
    scores
        Rows of one run; without the intact value of a metric there is no effect on it.
    better
        Task -> metric -> which direction is good.
    """
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for row in scores:
        groups.setdefault((row.task, row.metric, row.condition), []).append(row)
    every = [
        effect
        for (task, metric, _), rows in groups.items()
        for effect in _effects_of(rows, better[task][metric])
    ]
    p = np.array([effect.p if effect.controls else nan for effect in every], dtype=np.float64)
    q = benjamini_hochberg(p).tolist()
    return [replace(effect, q=value) for effect, value in zip(every, q, strict=True)]


def _effects_of(rows: Sequence[Score], better: Better) -> list[Effect]:
    intact = next((row.value for row in rows if row.mask == INTACT), None)
    if intact is None:
        return []
    ablations: dict[tuple[str, str, float, str], list[Score]] = {}
    for row in rows:
        if row.mask != INTACT:
            place = (row.sites, row.mode, row.percent, row.control_of or row.mask)
            ablations.setdefault(place, []).append(row)
    outcome = (rows[0].task, rows[0].metric, rows[0].condition)
    return [
        Effect(
            *outcome,
            *place[:3],
            better,
            intact,
            ablated.value,
            *_controls(masks),
            place[3],
            ablated.n,
            tuple(row.mask for row in masks if is_matched(row.mask_kind)),
        )
        for place, masks in ablations.items()
        for ablated in masks
        if not ablated.control_of
    ]


def _controls(
    rows: Sequence[Score],
) -> tuple[tuple[float, ...], tuple[tuple[str, float], ...]]:
    """Return the values of the matched controls, and those of the others by name."""
    matched = tuple(row.value for row in rows if is_matched(row.mask_kind))
    others = tuple(
        (row.mask, row.value) for row in rows if row.control_of and not is_matched(row.mask_kind)
    )
    return matched, others
