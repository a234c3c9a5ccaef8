"""What every check of an adapter works with: the adapter, stimuli, and how values are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.stimuli import Stimulus

Matrix = Float[np.ndarray, "stimulus unit"]
OneUnit = Float[np.ndarray, " _"]
"""The activations of one unit."""

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

    def at_positions(self, units: Mapping[str, int]) -> dict[str, OneUnit]:
        """Return the activations of one unit of each of some sites, at every position.

        Positions follow each other, stimulus by stimulus. Pooled where the adapter does not read
        positions: one value for every stimulus.

        Parameters
        ----------
        units
            Name of a site -> number of the unit within it.
        """
        layout = Layout(tuple(site for site in self.layout.sites if site.name in units))
        if not isinstance(self.adapter, ReadsPositions):
            read = self.read(layout=layout)
            return {name: read[:, layout.slices[name]][:, units[name]] for name in units}
        readout = replace(self.readout, pool="mean", tokens="all")
        shown = dict(self.adapter.positions(self.stimuli, layout, readout))
        rows = [shown[number] for number in range(len(self.stimuli))]
        return {
            name: np.concatenate([np.asarray(row[name])[:, unit] for row in rows])
            for name, unit in units.items()
        }

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
        selected = np.zeros(self.layout.n_units, dtype=bool)
        for name, unit in units.items():
            selected[self.layout.slices[name].start + unit] = True
        return UnitMask(self.layout, selected)

    def same(self, a: Any, b: Any) -> bool:
        """Return whether activations agree within the precision that the model computes in.

        Parameters
        ----------
        a, b
            Activations.
        """
        half = self.adapter.identity.get("dtype") in ("bfloat16", "float16")
        relative, absolute = (5e-2, 5e-2) if half else (1e-4, 1e-5)
        return bool(np.allclose(a, b, rtol=relative, atol=absolute, equal_nan=True))


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
