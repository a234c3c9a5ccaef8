"""Edits of a model: what is done to its selected units."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from deeploc.core.units import StatMap, UnitMask, Vector
from deeploc.errors import MaskError

Values = Float[np.ndarray, "stimulus position selected"]
"""Activations of the selected units of one site in one forward pass."""


@runtime_checkable
class Edit(Protocol):
    """What is done to some units of a model in every forward pass.

    `Ablation` is the edit that adapters run on the device. Any other is given the activations of a
    forward pass as an array, and may depend on the stimuli of the batch and on their positions.
    """

    @property
    def mask(self) -> UnitMask:
        """The units that are edited."""
        ...

    @property
    def key(self) -> str:
        """Hash of everything that decides the edit: equal keys, equal edits."""
        ...

    def edited(self, site: str, values: Values) -> Values:
        """Return the new activations of the selected units of a site.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``: the stimuli of the batch in its order, the
            positions of this forward pass (one where a site has none; of generated text only the
            new ones), the selected units of the site by rising index.
        """
        ...


@dataclass(frozen=True)
class Ablation:
    """Replace every selected unit ``x`` by ``gain * x + offset``, at every position.

    ``gain=0`` sets a unit to 0 (zero ablation), ``gain=0`` with its mean as ``offset`` holds it
    at that mean (mean ablation), any other ``gain`` scales it.

    Parameters
    ----------
    mask
        The units that are ablated.
    gain
        The factor of the activation.
    offset
        ``(unit,)``, in the model's own activation units; None is 0.

    Raises
    ------
    MaskError
        If ``offset`` has not one value per unit of the mask's layout.
    """

    mask: UnitMask
    gain: float = 0.0
    offset: Vector | None = None

    def __post_init__(self) -> None:
        if self.offset is not None and self.offset.shape != self.mask.selected.shape:
            raise MaskError(
                f"the offset has {self.offset.size} values but the mask has "
                f"{self.mask.selected.size} units; give one value per unit"
            )

    @classmethod
    def of(cls, mode: str, mask: UnitMask, stat_map: StatMap) -> "Ablation":
        """Return the ablation that ``mode`` names: ``zero``, ``mean`` or ``scale:G``.

        ``mean`` takes each unit's own mean over the localizer's stimuli, never one mean for all
        units: with a global scalar (as in the code of Kryvosheieva et al. 2025, arXiv 2512.03676)
        random controls do as much damage as the selected units.

        Parameters
        ----------
        mode
            ``zero``, ``mean`` or ``scale:G`` with a finite number G.
        mask
            The units that are ablated.
        stat_map
            The statistics of the same units; its ``baseline`` is what ``mean`` holds units at.

        Raises
        ------
        MaskError
            If mask and statistics are of different units.
        ValueError
            If there is no such mode, or ``G`` is not a finite number.
        """
        check_same_units(mask, stat_map)
        if mode == "zero":
            return cls(mask)
        if mode == "mean":
            return cls(mask, offset=stat_map.baseline)
        return cls(mask, gain=parse_scale(mode))

    def edited(self, site: str, values: Values) -> Values:
        """Return ``gain * values + offset``, see `Edit`.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``.
        """
        offset = np.zeros(1)
        if self.offset is not None:
            offset = self.offset[self.mask.layout.slices[site]][self.mask.at(site)]
        if self.gain == 0:  # without multiplying: 0 * inf is nan
            return np.broadcast_to(offset, values.shape).astype(np.float64)
        return self.gain * values.astype(np.float64) + offset

    @cached_property
    def key(self) -> str:
        """Hash of sites, units, gain and offsets: equal keys mean the same edit of the model.

        Units that are not selected do not count, nor do sites without a selected unit; ``zero``
        and ``scale:0`` are the same edit.
        """
        offsets = b"offsets" if self.offset is not None else b""
        digest = hashlib.sha256(np.float64(self.gain).tobytes() + offsets)
        for site in self.mask.layout.sites:
            units = np.flatnonzero(self.mask.at(site.name))
            if units.size:
                part = self.mask.layout.slices[site.name]
                digest.update(f"\n{site.name} {site.n_units} {units.size}\n".encode())
                digest.update(units.astype("<i8").tobytes())
                if self.offset is not None:
                    digest.update(self.offset[part][units].astype("<f8").tobytes())
        return digest.hexdigest()[:32]


def check_same_units(mask: UnitMask, stat_map: StatMap) -> None:
    """Refuse a mask and statistics of different units.

    Parameters
    ----------
    mask, stat_map
        What must be of the same units.

    Raises
    ------
    MaskError
        If their layouts have not the same sites with the same numbers of units.
    """
    ours, theirs = mask.layout.units, stat_map.layout.units
    if ours != theirs:
        different = next(
            (f"site {a[0]} ({a[2]:,} units) against {b[0]} ({b[2]:,} units)"
             for a, b in zip(ours, theirs, strict=False) if a != b),
            f"{len(ours)} sites against {len(theirs)}",
        )  # fmt: skip
        raise MaskError(
            f"mask and statistics are of different units: {different}; use the statistics that "
            "the mask was selected from"
        )


def parse_scale(mode: str) -> float:
    """Return G of the mode ``scale:G``.

    Raises
    ------
    ValueError
        If ``mode`` is not of this form, or G is not a finite number.
    """
    name, _, gain = mode.partition(":")
    try:
        if name == "scale" and np.isfinite(float(gain)):
            return float(gain)
    except ValueError:
        pass
    raise ValueError(
        f"no ablation mode {mode!r}; there are 'zero', 'mean' and 'scale:G', e.g. 'scale:0.5'"
    )
