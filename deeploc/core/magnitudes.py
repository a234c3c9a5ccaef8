"""The largest absolute activation of every unit, and which of these are massive."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from deeploc.core.massive import (
    MASSIVE,
    MASSIVE_VALUE,
    N_LISTED,
    RESIDUAL,
    STRETCH,
    LargeUnit,
    MassiveActivations,
    SiteMagnitudes,
)
from deeploc.core.positions import Positions
from deeploc.core.units import Layout, Vector

_EXACT = 2**16
"""The median is that of all activations up to so many, else of evenly spaced positions."""


@dataclass
class Magnitudes:
    """The largest absolute activation of every unit, stimulus after stimulus.

    Parameters
    ----------
    layout
        The sites. Where each position of a unit is a unit (pool ``none``), so it is here.
    """

    layout: Layout
    count: int = field(default=0, init=False)
    peak: Vector = field(init=False)
    ratio: Vector = field(init=False)
    medians: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.peak = np.zeros(self.layout.n_units)
        self.ratio = np.zeros(self.layout.n_units)
        self.medians = np.zeros(len(self.layout.sites))

    def add(self, positions: Positions) -> None:
        """Take the activations of one stimulus.

        Parameters
        ----------
        positions
            Name of a site -> ``(position, unit)``; what is not finite counts as infinite.
        """
        self.count += 1
        for number, site in enumerate(self.layout.sites):
            size = np.abs(positions[site.name])
            median = _median(size)
            units = self.layout.slices[site.name]
            largest = size.reshape(-1, site.n_units).max(axis=0)
            largest = np.where(np.isfinite(largest), largest, np.inf).astype(np.float64)
            self.peak[units] = np.maximum(self.peak[units], largest)
            if median > 0:
                self.ratio[units] = np.maximum(self.ratio[units], largest / median)
                self.medians[number] += median

    def massive(self) -> MassiveActivations:
        """Return what they come to."""
        sites = [self._site(number) for number in range(len(self.layout.sites))]
        return MassiveActivations(tuple(self._with_stretch(sites)), self.count)

    def _site(self, number: int) -> SiteMagnitudes:
        site = self.layout.sites[number]
        units = self.layout.slices[site.name]
        peak, ratio = self.peak[units], self.ratio[units]
        largest = np.argsort(-ratio, kind="stable")[:N_LISTED]
        above = [int(np.count_nonzero(ratio > bound)) for bound in (STRETCH, 100.0, MASSIVE)]
        return SiteMagnitudes(
            site.name,
            site.kind,
            float(self.medians[number] / max(self.count, 1)),
            (above[0], above[1], above[2]),
            tuple(LargeUnit(int(i), float(peak[i]), float(ratio[i])) for i in largest),
            tuple(np.flatnonzero((ratio > MASSIVE) & (peak > MASSIVE_VALUE)).tolist()),
        )

    def _with_stretch(self, sites: Sequence[SiteMagnitudes]) -> list[SiteMagnitudes]:
        """Add to every block the dimensions that are massive in several of the same width."""
        return [
            replace(site, stretch=tuple(self._recurring(number, sites)))
            for number, site in enumerate(sites)
        ]

    def _recurring(self, number: int, sites: Sequence[SiteMagnitudes]) -> list[int]:
        own = self.layout.sites[number]
        if own.kind != RESIDUAL:
            return []
        alike = [
            massive
            for site, massive in zip(self.layout.sites, sites, strict=True)
            if site.kind == RESIDUAL and site.n_units == own.n_units
        ]
        indices = [index for site in alike for index in site.massive]
        ratio = self.ratio[self.layout.slices[own.name]]
        return [
            index
            for index in sorted(set(indices) - set(sites[number].massive))
            if indices.count(index) > 1 and ratio[index] > STRETCH
        ]


def _median(size: Float[np.ndarray, "position unit"]) -> float:
    """Return the median absolute activation other than 0, 0 where there is none.

    Zeros are left out, because after a ReLU most activations are 0, and the median with them.
    """
    step = max(1, -(-size.size // _EXACT)) if len(size) > 1 else 1
    some = size[:: min(step, len(size))]
    some = some[(some > 0) & np.isfinite(some)]
    return float(np.median(some)) if some.size else 0.0
