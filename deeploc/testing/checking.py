"""What every check of an adapter works with: the adapter, stimuli, and how values are compared."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.stimuli import Stimulus

Matrix = Float[np.ndarray, "stimulus unit"]
Rows = Float[np.ndarray, "... unit"]
Everywhere = Float[np.ndarray, "_ _"]  # sites differ in size: no named axes
"""The activations of one site, (position, unit)."""

Load = Callable[[ModelOptions], Adapter]
"""Load the adapter once more, with these options."""


@dataclass(frozen=True)
class Subject:
    """An adapter under test.

    Parameters
    ----------
    adapter
        The adapter.
    stimuli
        A few stimuli, texts of unlike lengths or images.
    readout
        How it is read.
    load
        How it is loaded once more; None: it cannot be, and what needs it is skipped.
    options
        What it was loaded with.
    """

    adapter: Adapter
    stimuli: Sequence[Stimulus]
    readout: Readout = field(default_factory=lambda: Readout(pool="mean"))
    load: Load | None = None
    options: ModelOptions = field(default_factory=ModelOptions)
    _intact_at: dict[str, Everywhere] = field(default_factory=dict, init=False)

    @cached_property
    def intact(self) -> Matrix:
        """The activations of every site, without an ablation."""
        return self.read()

    @property
    def layout(self) -> Layout:
        """All sites, with every scalar of an attention head as a unit: an edit sets scalars."""
        return self.adapter.sites.scalars()

    def read(
        self,
        stimuli: Sequence[Stimulus] | None = None,
        layout: Layout | None = None,
        adapter: Adapter | None = None,
    ) -> Matrix:
        """Return activations ``(stimulus, unit)``; what is read twice counts once.

        Parameters
        ----------
        stimuli, layout, adapter
            What is read; default: those of the subject.
        """
        stimuli, layout = stimuli or self.stimuli, layout or self.layout
        values = np.full((len(stimuli), layout.n_units), np.nan)
        for batch in (adapter or self.adapter).activations(stimuli, layout, self.readout):
            values[batch.indices] = batch.values
        return values

    def at_positions(
        self, layout: Layout, stimuli: Sequence[Stimulus] | None = None
    ) -> dict[str, Everywhere]:
        """Return the activations at every position, by the name of the site.

        Positions follow each other, stimulus by stimulus. Pooled where the adapter does not read
        positions: one row for every stimulus.

        Parameters
        ----------
        layout
            The sites.
        stimuli
            What is read; default: those of the subject.
        """
        stimuli = stimuli or self.stimuli
        if not isinstance(self.adapter, ReadsPositions):
            read = self.read(stimuli, layout)
            return {name: read[:, units] for name, units in layout.slices.items()}
        readout = replace(self.readout, pool="mean", tokens="all")
        shown = dict(self.adapter.positions(stimuli, layout, readout))
        rows = [shown[number] for number in range(len(stimuli))]
        return {name: np.concatenate([row[name] for row in rows]) for name in layout.slices}

    def at(self, site: str) -> Everywhere:
        """Return the activations at every position of one site, under what is in force.

        Parameters
        ----------
        site
            Its name.
        """
        return self.at_positions(self.sites_of((site,)))[site]

    def intact_at(self, site: str) -> Everywhere:
        """Return the activations at every position of one site, without an ablation.

        Parameters
        ----------
        site
            Its name.
        """
        if site not in self._intact_at:
            self._intact_at[site] = self.at(site)
        return self._intact_at[site]

    def sites_of(self, names: Collection[str]) -> Layout:
        """Return the layout of some sites, in forward order.

        Parameters
        ----------
        names
            Their names.
        """
        return Layout(tuple(site for site in self.layout.sites if site.name in names))

    def most_active(self) -> dict[str, int]:
        """Return the unit of every site whose activations are largest, by the name of the site."""
        found = {}
        for name, units in self.layout.slices.items():
            size = np.nan_to_num(np.abs(self.intact[:, units]).mean(axis=0), nan=-1.0)
            found[name] = int(size.argmax())
        return found

    def mask_of(self, units: Mapping[str, int]) -> UnitMask:
        """Return a mask of one unit of each of some sites.

        Parameters
        ----------
        units
            Name of a site -> number of the unit within it.
        """
        return self.mask({name: np.array([unit]) for name, unit in units.items()})

    def mask(self, units: Mapping[str, Int[np.ndarray, " _"]]) -> UnitMask:
        """Return a mask of several units of each of some sites.

        Parameters
        ----------
        units
            Name of a site -> numbers of the units within it.
        """
        selected = np.zeros(self.layout.n_units, dtype=bool)
        for name, numbers in units.items():
            selected[self.layout.slices[name].start + numbers] = True
        return UnitMask(self.layout, selected)

    def same(self, a: Any, b: Any) -> bool:
        """Return whether values agree within the precision that the model computes in.

        What a sum is rounded by is a share of its largest terms, so differences count as shares of
        the largest of all values.

        Parameters
        ----------
        a, b
            Activations at one site, or scores.
        """
        half = self.adapter.identity.get("dtype") in ("bfloat16", "float16")
        tolerance = 5e-2 if half else 1e-4
        sizes = np.abs(np.asarray(a, dtype=float))
        largest = sizes.max(initial=0, where=np.isfinite(sizes))
        return bool(np.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True))

    def same_sites(self, a: Rows, b: Rows) -> bool:
        """Return whether activations of all units agree at every site, as `same` says.

        Parameters
        ----------
        a, b
            Activations of one or several stimuli.
        """
        parts = self.layout.slices.values()
        return all(self.same(a[..., units], b[..., units]) for units in parts)


def expect(met: bool, failure: str) -> None:
    """Fail unless a promise is kept.

    Parameters
    ----------
    met
        Whether it is.
    failure
        What was found instead.

    Raises
    ------
    AssertionError
        If it is not.
    """
    if not met:
        raise AssertionError(
            f"the adapter does not follow the protocol deeploc.core.adapter.Adapter: {failure}"
        )
