"""The means of groups of units over every stimulus: of responses, and of z."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from deeploc.analysis.localization import layout_of
from deeploc.analysis.reading import (
    ByCondition,
    ConditionMoments,
    Rows,
    Values,
    read_into,
)
from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.adapter import Adapter
from deeploc.core.adapter_plugins import ActivationSource
from deeploc.core.matching import Seed, random_like
from deeploc.core.readout import Readout
from deeploc.core.responses import UNITS
from deeploc.core.stats import Moments, Vector, slices
from deeploc.core.units import Layout, Selection, StatMap, UnitMask
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

Stimuli = Mapping[str, Sequence[Stimulus]]
Indices = Int[np.ndarray, " _"]
Means = Float64[np.ndarray, "stimulus kind group scale"]
"""Means over the units of each group at each kind of site: of the response (0), of z (1)."""


def read_group_means(
    adapter: Adapter,
    contrast: Contrast,
    stat_map: StatMap,
    mask: UnitMask,
    stimuli: Stimuli,
    *,
    counts: Mapping[str, int],
    seed: int = 0,
    readings: ActivationSource | None = None,
    on_progress: OnProgress = ignore_progress,
) -> "GroupMeans":
    """Return the mean response and mean z of each group of units to every stimulus.

    Parameters
    ----------
    adapter, contrast, stat_map, mask, stimuli, counts, seed, readings, on_progress
        As for `deeploc.analysis.profile.profile`.

    Raises
    ------
    AdapterError
        If the model cannot read the stimuli.
    """
    layout = layout_of(adapter, contrast)
    control = _random(mask, (seed, 0))
    unit_groups = _UnitGroups.of(layout, mask.selected, control, unit_scale(stat_map, counts))
    by_condition = ByCondition.of(list(contrast.conditions), stimuli)
    n_means, n_stimuli = unit_groups.sizes.size, len(by_condition.stimuli)
    reduced = GroupMeans(
        layout.kinds,
        unit_groups,
        ConditionMoments(by_condition, n_means),
        contrast.read.response == "abs",
        np.full((n_stimuli, n_means), np.nan),
    )
    read_into(
        [reduced],
        readings or adapter,
        by_condition.stimuli,
        layout,
        Readout.of(contrast.read),
        on_progress=on_progress,
    )
    return reduced


def unit_scale(stat_map: StatMap, counts: Mapping[str, int]) -> tuple[Vector, Vector]:
    """Return mean and standard deviation (ddof=1) of every unit over all localizing stimuli.

    With ``n_c``, ``m_c`` and ``s_c`` of condition c and ``N = sum(n_c)``: ``m = sum(n_c m_c) / N``
    and ``s^2 = (sum((n_c - 1) s_c^2) + sum(n_c (m_c - m)^2)) / (N - 1)``, the within and between
    parts of the sum of squares; equal to ``numpy.std(all of them, ddof=1)``.

    Parameters
    ----------
    stat_map
        Means and standard deviations per condition.
    counts
        Condition -> how many stimuli localized.
    """
    mean, sd = np.empty(stat_map.layout.n_units), np.empty(stat_map.layout.n_units)
    for units in slices(stat_map.layout.n_units):
        parts = [
            Moments.of(counts[name], stat_map.means[name][units], stat_map.sds[name][units])
            for name in stat_map.means
        ]
        with np.errstate(invalid="ignore", over="ignore"):  # a unit that was not finite is nan
            whole = stats.pooled(parts)
            mean[units], sd[units] = whole.mean, whole.sd
    return mean, sd


def has_scale(mean: Vector, sd: Vector) -> Selection:
    """Return which units have a z: those whose mean and sd are finite, and the sd is not 0.

    Parameters
    ----------
    mean, sd
        ``(unit,)``, see `unit_scale`.
    """
    scaled: Selection = np.isfinite(mean) & np.isfinite(sd) & (sd > 0)
    return scaled


@dataclass(frozen=True)
class GroupMeans:
    """The means over groups of units, and their moments over stimuli (an accumulator)."""

    kinds: tuple[str, ...]
    unit_groups: "_UnitGroups"
    by_condition: ConditionMoments
    absolute: bool
    means: Float64[np.ndarray, "stimulus mean"]

    def add(self, rows: Rows, values: Values) -> None:
        """Take a batch."""
        response = np.abs(values) if self.absolute else values
        self.means[rows] = self.unit_groups.means(response).reshape(len(rows), -1)
        self.by_condition.add(rows, self.means[rows])

    def z_of_selected(self, kind: str) -> Vector:
        """Return the mean z of the selected units of a kind, ``(stimulus,)``; nan without any.

        Parameters
        ----------
        kind
            The kind of site.
        """
        means = self.means.reshape(len(self.means), *self.unit_groups.sizes.shape)
        z: Vector = means[:, self.kinds.index(kind), UNITS.index("selected"), 1]
        return z


@dataclass(frozen=True)
class _Part:
    """Adjacent units of one kind, their scale, and which of them each group holds."""

    kind: int
    units: slice
    members: tuple[Indices | slice, ...]
    mean: Vector
    inverse: Vector
    unscaled: Indices


@dataclass(frozen=True)
class _UnitGroups:
    """The units whose mean is taken, over how many (``sizes``), and the scale of all units."""

    parts: Sequence[_Part]
    sizes: Float64[np.ndarray, "kind group scale"]
    scale: tuple[Vector, Vector]

    @classmethod
    def of(
        cls, layout: Layout, selected: Selection, control: Selection, scale: tuple[Vector, Vector]
    ) -> "_UnitGroups":
        """Return the groups of every kind; units without a finite, positive sd have no z."""
        mean, sd = scale
        parts = []
        sizes = np.zeros((len(layout.kinds), len(UNITS), 2))
        for kind, units in _contiguous(layout):
            scaled = has_scale(mean[units], sd[units])
            inverse = np.divide(1.0, sd[units], out=np.zeros_like(sd[units]), where=scaled)
            members = (np.flatnonzero(selected[units]), np.flatnonzero(control[units]), slice(None))
            parts.append(_Part(kind, units, members, mean[units], inverse, np.flatnonzero(~scaled)))
            sizes[kind] += [[scaled[m].size, np.count_nonzero(scaled[m])] for m in members]
        return cls(parts, sizes, scale)

    def means(self, responses: Float[np.ndarray, "stimulus unit"]) -> Means:
        """Return the means over each group, nan where one is not finite or over no unit."""
        sums = np.zeros((len(responses), *self.sizes.shape))
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for part in self.parts:
                values = responses[:, part.units].astype(np.float64)
                for scale in (0, 1):
                    for group, members in enumerate(part.members):
                        sums[:, part.kind, group, scale] += values[:, members].sum(axis=1)
                    values = (values - part.mean) * part.inverse
                    values[:, part.unscaled] = 0.0
            means: Means = sums / self.sizes
        means[~np.isfinite(means)] = np.nan
        return means


def _contiguous(layout: Layout) -> Iterator[tuple[int, slice]]:
    """Yield (number of the kind, units) so that all units are covered, at most a slice at once."""
    for site in layout.sites:
        start = layout.slices[site.name].start
        for part in slices(site.n_units):
            stop = start + min(part.stop, site.n_units)
            yield layout.kinds.index(site.kind), slice(start + part.start, stop)


def _random(mask: UnitMask, seed: Seed) -> Selection:
    """Return the matched random units of every kind, drawn as a control of that kind is."""
    parts = [random_like(mask.of_kind(kind), seed).selected for kind in mask.layout.kinds]
    either: Selection = np.logical_or.reduce(parts)
    return either
