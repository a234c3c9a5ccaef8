"""Activations at every position of a few stimuli: what modes of ablation put in place."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deeploc.analysis.localization import layout_of
from deeploc.analysis.massive import evenly_spaced
from deeploc.analysis.reading import ByCondition
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.modes import check_readable
from deeploc.core.position_classes import PositionMoments
from deeploc.core.positions import Positions, ReadsPositions
from deeploc.core.readout import Pool, Readout
from deeploc.core.replacing import Donors
from deeploc.core.scalars import vector_of_scalars
from deeploc.core.stats import Moments, Vector
from deeploc.core.units import Layout, Site, StatMap
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import quotas
from deeploc.stimuli.stimulus import content_hash

N_DONORS = 24
"""How many stimuli of the control condition are donors."""

DONOR_BYTES = 256 * 2**20
"""Most memory for the activations of donors; there are fewer donors where they are large, but at
least two."""

StimuliByCondition = Mapping[str, Sequence[Stimulus]]


class ClassMoments:
    """Moments of every unit at first and at later positions, stimulus after stimulus.

    Parameters
    ----------
    layout
        The sites; each position of a unit is a unit where the pool is ``none``.
    pool
        The pool of the read-out.
    """

    def __init__(self, layout: Layout, pool: Pool) -> None:
        self._units = layout
        self.layout = layout.scalars()
        self.n_stimuli = 0
        self._pool = pool
        self._first = {site.name: Moments(site.n_units) for site in self.layout.sites}
        self._later = {site.name: Moments(site.n_units) for site in self.layout.sites}

    def add(self, positions: Positions) -> None:
        """Take the activations of one stimulus.

        Parameters
        ----------
        positions
            Name of a site -> ``(position, scalar)``.
        """
        self.n_stimuli += 1
        with np.errstate(invalid="ignore", over="ignore"):  # non-finite activations
            for site in self.layout.sites:
                rows = positions[site.name].reshape(-1, site.n_units)
                n_first = 1 if self._has_first(site) else len(rows)
                self._first[site.name].add(rows[:n_first])
                self._later[site.name].add(rows[n_first:])

    def moments(self, stat_map: StatMap) -> PositionMoments:
        """Return the moments.

        Where the read-out itself is a mean over all positions of a site (pool ``mean`` at maps or
        patches without a class token, pool ``none``), the mean is the ``baseline``, which rests on
        all stimuli. A unit with a non-finite activation is at 0.

        Parameters
        ----------
        stat_map
            The statistics of the same units.
        """
        baseline = vector_of_scalars(self._units, stat_map.baseline)
        exact = np.repeat(
            [self._is_exact(site) for site in self._units.sites],
            [site.n_units for site in self.layout.sites],
        )
        # one class, or no stimulus has a second position
        later = {k: m if m.count else self._first[k] for k, m in self._later.items()}
        mean, mean_first = (
            np.where(exact, baseline, self._joined(kept, "mean")) for kept in (later, self._first)
        )
        sd, sd_first = (self._joined(kept, "sd") for kept in (later, self._first))
        return PositionMoments(self.layout, mean, sd, mean_first, sd_first)

    def _is_exact(self, site: Site) -> bool:
        """Return whether the read-out is the mean of a unit over all of its positions."""
        return site.width == 1 and self._pool in ("mean", "none") and not self._has_first(site)

    def _has_first(self, site: Site) -> bool:
        """Return whether position 0 is a class of its own: among tokens, or a class token."""
        return self._pool != "none" and (site.n_positions is None or site.class_token)

    def _joined(self, kept: Mapping[str, Moments], name: str) -> Vector:
        with np.errstate(invalid="ignore"):
            joined = np.concatenate([getattr(kept[s.name], name) for s in self.layout.sites])
        finite: Vector = np.where(np.isfinite(joined), joined, 0.0)
        return finite


def read_moments(
    adapter: Adapter, contrast: Contrast, stimuli: StimuliByCondition, stat_map: StatMap
) -> PositionMoments:
    """Return mean and standard deviation of every unit at first and at later positions.

    They are over the stimuli that are looked through for massive activations, too.

    Parameters
    ----------
    adapter
        The model; it must show activations at every position.
    contrast
        Its conditions and read-out.
    stimuli
        Condition -> the stimuli that localize.
    stat_map
        The statistics of the same units.
    """
    assert isinstance(adapter, ReadsPositions)
    layout = layout_of(adapter, contrast)
    kept = ClassMoments(layout, contrast.read.pool)
    sample = evenly_spaced(ByCondition.of(list(contrast.conditions), stimuli).stimuli)
    for _, positions in adapter.positions(sample, kept.layout, Readout.of(contrast.read)):
        kept.add(positions)
    return kept.moments(stat_map)


def read_donors(adapter: Adapter, contrast: Contrast, stimuli: StimuliByCondition) -> Donors:
    """Return `N_DONORS` stimuli of the side that the contrast does not prefer, at every position.

    Parameters
    ----------
    adapter
        The model; it must show activations at every position.
    contrast
        Its comparison and read-out.
    stimuli
        Condition -> the stimuli that localize.
    """
    groups = [stimuli[name] for name in contrast.comparison.negative]
    ((_, probe),) = _read(adapter, contrast, _sample(groups, 1))
    n_bytes = sum(values.size * np.dtype(np.float32).itemsize for values in probe.values())
    sample = _sample(groups, min(max(DONOR_BYTES // n_bytes, 2), N_DONORS))
    digest = f"{content_hash(sample)} {contrast.read.max_tokens}"
    donors = dict(_read(adapter, contrast, sample))
    in_order = [donors[number] for number in range(len(sample))]
    return Donors(layout_of(adapter, contrast).scalars(), in_order, digest)


def check_modes(contrast: Contrast, adapter: Adapter) -> None:
    """Refuse modes of ablation that need activations which the adapter does not show.

    Parameters
    ----------
    contrast
        Its modes.
    adapter
        The model.

    Raises
    ------
    ContrastError
        Naming the mode.
    """
    try:
        for mode in contrast.ablate.mode:
            check_readable(mode, reads=isinstance(adapter, ReadsPositions))
    except ValueError as error:
        raise contrast.error_at(("ablate", "mode"), str(error)) from None


def _sample(groups: Sequence[Sequence[Stimulus]], total: int) -> list[Stimulus]:
    """Return stimuli at equal distances in each group, as many of each as possible."""
    wanted = quotas([len(group) for group in groups], total)
    return [
        group[int(place)]
        for group, n in zip(groups, wanted, strict=True)
        for place in np.linspace(0, len(group), n, endpoint=False)
    ]


def _read(
    adapter: Adapter, contrast: Contrast, sample: Sequence[Stimulus]
) -> Iterator[tuple[int, Positions]]:
    """Yield the number of every stimulus and its activations, ``(position, scalar)``, float32."""
    assert isinstance(adapter, ReadsPositions)
    layout = layout_of(adapter, contrast).scalars()
    for number, shown in adapter.positions(sample, layout, Readout.of(contrast.read)):
        yield (
            number,
            {
                site.name: np.asarray(shown[site.name], dtype=np.float32).reshape(-1, site.n_units)
                for site in layout.sites
            },
        )
