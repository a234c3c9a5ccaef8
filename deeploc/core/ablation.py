"""Edits of a model: what is done to its selected units."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int

from deeploc.contrast.fields import MODES
from deeploc.core.position_classes import PositionMoments
from deeploc.core.scalars import mask_of_scalars
from deeploc.core.units import Layout, StatMap, UnitMask, Vector
from deeploc.errors import MaskError

Values = Float[np.ndarray, "stimulus position selected"]
"""Activations of the selected units of one site in one forward pass."""

Units = Int[np.ndarray, " selected"]
"""Indices of selected units within a site."""


@dataclass(frozen=True)
class ForwardPass:
    """What a forward pass shows the model, as far as an edit may depend on it.

    Parameters
    ----------
    start
        The position of the first token, patch or pixel of the pass: 0, unless a text is generated
        and earlier passes have shown the model what comes before.
    stimuli
        A number for every stimulus of the batch, decided by nothing but what it shows: neither by
        the rest of the batch nor by padding. Generated text keeps the number of its prompt.
    """

    start: int
    stimuli: tuple[int, ...]


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

    def edited(self, site: str, values: Values, forward_pass: ForwardPass) -> Values:
        """Return the new activations of the selected units of a site.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``: the stimuli of the batch in its order, the
            positions of this forward pass (one where a site has none; of generated text only the
            new ones), the selected units of the site by rising index.
        forward_pass
            Where the positions begin, and which stimuli these are.
        """
        ...


@dataclass(frozen=True)
class Ablation:
    """Replace every selected unit ``x`` by ``gain * x + offset``, at every position.

    ``gain=0`` sets a unit to 0 (zero ablation), ``gain=0`` with its mean as ``offset`` holds it
    at that mean (mean ablation), any other ``gain`` scales it, ``gain=1`` with an ``offset`` adds
    to it (steering). The first position may have an offset of its own.

    Parameters
    ----------
    mask
        The units that are ablated.
    gain
        The factor of the activation.
    offset
        ``(unit,)``, in the model's own activation units; None is 0.
    first
        ``(unit,)``: the offset at position 0 of a stimulus; None: that of all other positions.

    Raises
    ------
    MaskError
        If an offset has not one value per unit of the mask's layout.
    """

    mask: UnitMask
    gain: float = 0.0
    offset: Vector | None = None
    first: Vector | None = None

    def __post_init__(self) -> None:
        for offset in (self.offset, self.first):
            if offset is not None and offset.shape != self.mask.selected.shape:
                raise MaskError(
                    f"the offset has {offset.size} values but the mask has "
                    f"{self.mask.selected.size} units; give one value per unit"
                )

    @classmethod
    def of(
        cls, mode: str, mask: UnitMask, stat_map: StatMap, moments: PositionMoments | None = None
    ) -> "Ablation":
        """Return the ablation that ``mode`` names: ``zero``, ``mean`` or ``scale:G``.

        ``mean`` holds each unit at its own mean, never one mean for all units: with a global
        scalar (as in the code of Kryvosheieva et al. 2025, arXiv 2512.03676) random controls do
        as much damage as the selected units. The mean is that over the positions which are held:
        over position 0 of the stimuli at position 0, over all later ones elsewhere. At the first
        position, the attention sink, a few units are a thousand times larger than everywhere else;
        a model breaks when they are set to 0, and does as well as before when they are set to
        their mean there (Sun et al. 2024, arXiv 2402.17762, table 3). The mean over what a
        localizer reads, e.g. the last token, would be wrong there, and off elsewhere.

        Parameters
        ----------
        mode
            ``zero``, ``mean`` or ``scale:G`` with a finite number G.
        mask
            The units that are ablated.
        stat_map
            The statistics of the same units.
        moments
            Moments of their scalars at the first and at all other positions, whose means ``mean``
            holds them at; None: at every position at the ``baseline``, the mean over what the
            localizer read.

        Raises
        ------
        MaskError
            If mask and statistics are of different units.
        ValueError
            If there is no such mode, ``G`` is not a finite number, or the mode puts other
            activations in place (see `deeploc.core.modes.Modes`).
        """
        check_same_units(mask, stat_map)
        if mode == "zero":
            return cls(mask)
        if mode == "mean" and moments is None:
            return cls(mask, offset=stat_map.baseline)
        if mode == "mean" and moments is not None:
            mask = mask_of_scalars(mask)
            check_same_units(mask, moments)
            return cls(mask, offset=moments.mean, first=moments.mean_first)
        return cls(mask, gain=parse_gain(mode, "scale"))

    @cached_property
    def has_first(self) -> bool:
        """Whether a selected unit has an offset of its own at the first position."""
        if self.first is None:
            return False
        chosen = self.mask.selected
        others = 0.0 if self.offset is None else self.offset[chosen]
        return bool((self.first[chosen] != others).any())

    def edited(self, site: str, values: Values, forward_pass: ForwardPass) -> Values:
        """Return ``gain * values + offset``, see `Edit`.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``.
        forward_pass
            Where the positions begin.
        """
        offset = np.broadcast_to(self._at(site, self.offset), values.shape).astype(np.float64)
        if self.has_first and forward_pass.start == 0:
            offset[:, 0] = self._at(site, self.first)
        if self.gain == 0:  # without multiplying: 0 * inf is nan
            return offset
        return self.gain * values.astype(np.float64) + offset

    def _at(self, site: str, offset: Vector | None) -> Float64[np.ndarray, " selected"]:
        if offset is None:
            return np.zeros(1)
        chosen: Float64[np.ndarray, " selected"] = offset[self.mask.layout.slices[site]][
            self.mask.at(site)
        ]
        return chosen

    @cached_property
    def key(self) -> str:
        """Hash of sites, units, gain and offsets: equal keys mean the same edit of the model.

        Units that are not selected do not count, nor do sites without a selected unit; ``zero``
        and ``scale:0`` are the same edit.
        """
        vectors = [
            v for v in (self.offset, self.first if self.has_first else None) if v is not None
        ]
        label = b"offsets" * (self.offset is not None) + b"first" * self.has_first
        digest = hashlib.sha256(np.float64(self.gain).tobytes() + label)
        for site, part, units in selected_units(self.mask):
            digest.update(site)
            for vector in vectors:
                digest.update(vector[part][units].astype("<f8").tobytes())
        return digest.hexdigest()[:32]


def selected_units(mask: UnitMask) -> Iterator[tuple[bytes, slice, Units]]:
    """Yield every site with a selected unit: bytes that say which units, its slice, the units.

    Parameters
    ----------
    mask
        The selected units.
    """
    for site in mask.layout.sites:
        units = np.flatnonzero(mask.at(site.name))
        if units.size:
            name = f"\n{site.name} {site.n_units} {units.size}\n".encode()
            yield name + units.astype("<i8").tobytes(), mask.layout.slices[site.name], units


@runtime_checkable
class OfUnits(Protocol):
    """Numbers of the units of some sites."""

    @property
    def layout(self) -> Layout:
        """The sites."""
        ...


def check_same_units(mask: UnitMask, stat_map: OfUnits) -> None:
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


def parse_gain(mode: str, wanted: str) -> float:
    """Return G of the mode ``wanted:G``; 1 of the mode ``wanted`` alone, where there is one.

    Parameters
    ----------
    mode
        The mode.
    wanted
        ``scale`` or ``add``.

    Raises
    ------
    ValueError
        If ``mode`` is not of this form, or G is not a finite number.
    """
    name, _, gain = mode.partition(":")
    if mode == wanted and mode in MODES:
        return 1.0
    try:
        if name == wanted and np.isfinite(float(gain)):
            return float(gain)
    except ValueError:
        pass
    if mode in ("resample", "noise") or (name == "add" and wanted != "add"):
        raise ValueError(f"{mode!r} is no `Ablation` of a StatMap alone: make it with `Modes`")
    named = ", ".join(map(repr, MODES))
    raise ValueError(
        f"no ablation mode {mode!r}; there are {named}, 'scale:G' and 'add:G', e.g. 'scale:0.5'"
    )
