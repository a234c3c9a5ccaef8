"""Edits that put other activations in place: those of another stimulus, or random ones."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from deeploc.core.ablation import ForwardPass, Values, check_same_units, selected_units
from deeploc.core.position_classes import PositionMoments
from deeploc.core.positions import Positions
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import MaskError


@dataclass(frozen=True)
class Donors:
    """Activations of some stimuli at every position, to be put in the place of others.

    Parameters
    ----------
    layout
        The sites.
    stimuli
        For every donor its activations at each site, ``(position, unit)``.
    hash
        Hash of what decides the activations beside the model: the stimuli and their truncation.

    Raises
    ------
    MaskError
        If there are fewer than two, or one lacks a site of the layout.
    """

    layout: Layout
    stimuli: Sequence[Positions]
    hash: str

    def __post_init__(self) -> None:
        if len(self.stimuli) < 2:
            raise MaskError(f"resampling needs at least 2 donors, got {len(self.stimuli)}")
        for donor in self.stimuli:
            for site in self.layout.sites:
                if site.name not in donor or donor[site.name].shape[1] != site.n_units:
                    raise MaskError(f"a donor has not the {site.n_units} units of {site.name}")


@dataclass(frozen=True)
class Resampling:
    """Set the selected units to their activations in another stimulus, at every position.

    One donor stands in for a stimulus at all units and sites, so that the joint distribution of
    its activations is kept (resample ablation: Chan et al. 2022, causal scrubbing; Heimersheim &
    Nanda 2024, arXiv 2404.15255). Position ``p`` takes the donor's position ``p``; beyond its end
    the donor's positions are taken again from the second one on, so that the first position is
    only ever put at the first. Which donor it is, is decided by what the stimulus shows and by the
    seed.

    Parameters
    ----------
    mask
        The units that are replaced.
    donors
        Stimuli of the control condition, with the same sites.
    seed
        Of the choice of donors.

    Raises
    ------
    MaskError
        If mask and donors are of different units.
    """

    mask: UnitMask
    donors: Donors
    seed: int = 0

    def __post_init__(self) -> None:
        check_same_units(self.mask, self.donors)

    @cached_property
    def key(self) -> str:
        """Hash of sites, units, donors and seed."""
        digest = hashlib.sha256(f"resample {self.donors.hash} {self.seed}".encode())
        for site, _, _ in selected_units(self.mask):
            digest.update(site)
        return digest.hexdigest()[:32]

    def edited(self, site: str, values: Values, forward_pass: ForwardPass) -> Values:
        """Return the donors' activations, see `Edit`.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``; only its shape counts.
        forward_pass
            Where the positions begin, and which stimuli these are.
        """
        n = len(self.donors.stimuli)
        given, lengths = self._at(site)
        chosen = np.array([_hash(self.seed, stimulus) % n for stimulus in forward_pass.stimuli])
        positions = forward_pass.start + np.arange(values.shape[1])
        resampled: Values = given[chosen[:, None], _wrapped(positions, lengths[chosen])]
        return resampled

    def _at(self, site: str) -> tuple[Float[np.ndarray, "donor position selected"], "_Lengths"]:
        """Return the donors' activations of the selected units, and their numbers of positions."""
        if site not in self._kept:
            units = self.mask.at(site)
            rows = [donor[site][:, units] for donor in self.donors.stimuli]
            lengths = np.array([len(row) for row in rows])
            given = np.zeros((len(rows), lengths.max(), int(units.sum())))
            for place, row in zip(given, rows, strict=True):
                place[: len(row)] = row
            self._kept[site] = given, lengths
        return self._kept[site]

    @cached_property
    def _kept(
        self,
    ) -> "dict[str, tuple[Float[np.ndarray, 'donor position selected'], _Lengths]]":
        return {}


_Lengths = Int[np.ndarray, " donor"]


def _wrapped(
    positions: Int[np.ndarray, " position"], lengths: Int[np.ndarray, " stimulus"]
) -> Int[np.ndarray, "stimulus position"]:
    """Return which of a donor's positions each position takes."""
    later = np.maximum(lengths - 1, 1)[:, None]
    wrapped = np.where(positions == 0, 0, 1 + (positions - 1) % later)
    rows: Int[np.ndarray, "stimulus position"] = np.minimum(wrapped, lengths[:, None] - 1)
    return rows


@dataclass(frozen=True)
class Noise:
    """Set the selected units to independent normal draws, at every position.

    Mean and standard deviation are each unit's own, at the first position and at all others. The
    draws are decided by the seed, the site, the position and what the stimulus shows.

    Parameters
    ----------
    mask
        The units that are replaced.
    moments
        Means and standard deviations of the same units.
    seed
        Of the draws.

    Raises
    ------
    MaskError
        If mask and moments are of different units.
    """

    mask: UnitMask
    moments: PositionMoments
    seed: int = 0

    def __post_init__(self) -> None:
        check_same_units(self.mask, self.moments)

    @cached_property
    def key(self) -> str:
        """Hash of sites, units, their moments and the seed."""
        digest = hashlib.sha256(f"noise {self.seed}".encode())
        for site, part, units in selected_units(self.mask):
            digest.update(site)
            for vector in self.moments.vectors.values():
                digest.update(vector[part][units].astype("<f8").tobytes())
        return digest.hexdigest()[:32]

    def edited(self, site: str, values: Values, forward_pass: ForwardPass) -> Values:
        """Return the draws, see `Edit`.

        Parameters
        ----------
        site
            The name of the site.
        values
            ``(stimulus, position, selected unit)``; only its shape counts.
        forward_pass
            Where the positions begin, and which stimuli these are.
        """
        start, (_, n_positions, n_units) = forward_pass.start, values.shape
        at = self._at(site)
        drawn = np.empty(values.shape)
        for row, stimulus in zip(drawn, forward_pass.stimuli, strict=True):
            rng = np.random.default_rng(_hash(self.seed, stimulus, site))
            # draws come position by position, so later ones do not depend on where a pass ends
            row[:] = rng.standard_normal((start + n_positions, n_units))[start:]
        edited: Values = at["mean"] + at["sd"] * drawn
        if start == 0:
            edited[:, 0] = at["mean_first"] + at["sd_first"] * drawn[:, 0]
        return edited

    def _at(self, site: str) -> Mapping[str, Float[np.ndarray, " selected"]]:
        part, units = self.mask.layout.slices[site], self.mask.at(site)
        return {name: vector[part][units] for name, vector in self.moments.vectors.items()}


def _hash(*parts: int | str) -> int:
    """Return a number of 64 bits that is decided by all parts."""
    text = " ".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
