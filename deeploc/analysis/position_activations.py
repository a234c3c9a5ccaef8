"""Activations at every position of a few stimuli: what modes of ablation put in place."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.modes import check_readable
from deeploc.core.position_classes import PositionMoments
from deeploc.core.positions import Positions, ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.replacing import Donors
from deeploc.core.stats import Moments, Vector
from deeploc.core.units import Layout, Site, StatMap
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import quotas
from deeploc.stimuli.stimulus import content_hash

SAMPLE = 24
"""How many stimuli are read at every position, as many of each condition where it has them."""

DONOR_BYTES = 256 * 2**20
"""Most memory for the activations of donors; there are fewer donors where they are large, but at
least two."""

StimuliByCondition = Mapping[str, Sequence[Stimulus]]


def read_moments(
    adapter: Adapter, contrast: Contrast, stimuli: StimuliByCondition, stat_map: StatMap
) -> PositionMoments:
    """Return mean and standard deviation of every unit at first and at later positions.

    Read are `SAMPLE` stimuli. Where the read-out itself is a mean over all positions of a site
    (pool ``mean`` at maps or patches without a class token, pool ``none``), the mean is the
    ``baseline``, which rests on all stimuli. A unit with a non-finite activation is at 0.

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
    sample = _sample([stimuli[name] for name in contrast.conditions], SAMPLE)
    first, later = _moments(adapter, contrast, sample)
    layout = _layout(adapter, contrast)
    exact = np.concatenate([np.full(s.n_units, _is_exact(s, contrast)) for s in layout.sites])
    mean, mean_first = (
        np.where(exact, stat_map.baseline, _joined(layout, kept, "mean")) for kept in (later, first)
    )
    sd, sd_first = (_joined(layout, kept, "sd") for kept in (later, first))
    return PositionMoments(layout, mean=mean, sd=sd, mean_first=mean_first, sd_first=sd_first)


def read_donors(adapter: Adapter, contrast: Contrast, stimuli: StimuliByCondition) -> Donors:
    """Return `SAMPLE` stimuli of the side that the contrast does not prefer, at every position.

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
    sample = _sample(groups, min(max(DONOR_BYTES // n_bytes, 2), SAMPLE))
    digest = f"{content_hash(sample)} {contrast.read.max_tokens}"
    donors = dict(_read(adapter, contrast, sample))
    in_order = [donors[number] for number in range(len(sample))]
    return Donors(_layout(adapter, contrast), in_order, digest)


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


def _layout(adapter: Adapter, contrast: Contrast) -> Layout:
    layout = adapter.sites.choose(contrast.read.sites)
    return layout.per_position() if contrast.read.pool == "none" else layout


def _read(
    adapter: Adapter, contrast: Contrast, sample: Sequence[Stimulus]
) -> Iterator[tuple[int, Positions]]:
    """Yield the number of every stimulus and its activations, ``(position, unit)``, float32."""
    assert isinstance(adapter, ReadsPositions)
    sites = adapter.sites.choose(contrast.read.sites)
    for number, shown in adapter.positions(sample, sites, Readout.of(contrast.read)):
        rows = {name: np.asarray(values, dtype=np.float32) for name, values in shown.items()}
        if contrast.read.pool == "none":
            rows = {name: values.reshape(1, -1) for name, values in rows.items()}
        yield number, rows


def _moments(
    adapter: Adapter, contrast: Contrast, sample: Sequence[Stimulus]
) -> tuple[dict[str, Moments], dict[str, Moments]]:
    """Return the moments of first and of later positions, by the name of the site."""
    sites = _layout(adapter, contrast).sites
    first, later = ({site.name: Moments(site.n_units) for site in sites} for _ in range(2))
    with np.errstate(invalid="ignore", over="ignore"):  # non-finite activations
        for _, rows in _read(adapter, contrast, sample):
            for site in sites:
                values, name = rows[site.name], site.name
                n_first = 1 if _has_first(site, contrast) else len(values)
                first[name].add(values[:n_first])
                later[name].add(values[n_first:])
    for name, moments in later.items():
        if not moments.count:  # one class, or no stimulus has a second position
            later[name] = first[name]
    return first, later


def _has_first(site: Site, contrast: Contrast) -> bool:
    """Return whether position 0 of a site is a class of its own: tokens, or a class token."""
    return contrast.read.pool != "none" and (site.n_positions is None or site.class_token)


def _is_exact(site: Site, contrast: Contrast) -> bool:
    """Return whether the read-out is the mean over all positions of the site."""
    return contrast.read.pool in ("mean", "none") and not _has_first(site, contrast)


def _joined(layout: Layout, kept: Mapping[str, Moments], name: str) -> Vector:
    with np.errstate(invalid="ignore"):
        joined = np.concatenate([getattr(kept[site.name], name) for site in layout.sites])
    finite: Vector = np.where(np.isfinite(joined), joined, 0.0)
    return finite
