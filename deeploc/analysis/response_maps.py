"""Where in an image the selected units respond: their mean z, position by position.

The z of an image is the mean over units of ``(r - m) / s``, with r the response of a unit and m and
s its mean and standard deviation over all localizing stimuli (`group_means.unit_scale`). A map has
the same z before it is pooled: ``(r_p - m) / s`` at every position p, where ``r_p`` is the
activation there, with the sign of the pooled one where the response is its absolute value. For pool
``mean`` the mean over all positions of a site is therefore the z of the image, for both responses.
With pool ``none`` each unit has one position, and a position counts the units there,
``P / n * sum((r - m) / s)`` for P positions and n units, with the same mean. With pool ``max`` the
largest value of each unit, before units are averaged, is its z.

Positions that are no places in the image, class tokens for example, are left out of the map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from deeploc.analysis.group_means import Indices, has_scale
from deeploc.core.driving import Maps
from deeploc.core.pictures import ShowsPictures
from deeploc.core.positions import Positions, ReadsPositions
from deeploc.core.readout import Pool, Readout
from deeploc.core.scalars import values_of_units
from deeploc.core.site import Grid, Site
from deeploc.core.stats import Vector
from deeploc.core.units import Layout, UnitMask
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

Map = Float64[np.ndarray, "row column"]

MOST_PLACES = 32
"""Most rows and columns of a map; finer grids are averaged."""


@dataclass(frozen=True)
class SelectedAt:
    """The selected units of one site, and their scale.

    Parameters
    ----------
    site
        The site; with pool ``none`` without its positions.
    units
        Their numbers within the site.
    mean, sd
        ``(unit,)``, their scale.
    readout
        Its pool and response.
    """

    site: Site
    units: Indices
    mean: Vector
    sd: Vector
    readout: Readout

    def z_at(self, x: Float[np.ndarray, "_ _"]) -> Float64[np.ndarray, " position"]:
        """Return the mean z of the units at every position, see the module.

        Parameters
        ----------
        x
            Activations, (position, unit).
        """
        values = x.astype(np.float64)
        absolute = self.readout.response == "abs"
        if self.readout.pool == "none":
            chosen = values.reshape(-1)[self.units]
            z = ((np.abs(chosen) if absolute else chosen) - self.mean) / self.sd
            at = self.units // values.shape[1]
            sums = np.bincount(at, weights=z, minlength=len(values))
            return np.asarray(sums * len(values) / len(self.units))
        chosen = values[:, self.units]
        if absolute:
            pooled = _POOLED[self.readout.pool](chosen)
            chosen = np.where(pooled < 0, -chosen, chosen)
        return np.asarray(((chosen - self.mean) / self.sd).mean(axis=1))


_POOLED = {"mean": lambda x: x.mean(axis=0), "max": lambda x: x.max(axis=0)}


@dataclass(frozen=True)
class KindMap:
    """The map of one kind of site: the mean over its selected units that have a place.

    Parameters
    ----------
    parts
        The units of each site whose positions are places in the image.
    """

    parts: Sequence[SelectedAt]

    @property
    def n_units(self) -> int:
        """How many units have a place."""
        return sum(len(part.units) for part in self.parts)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns: those of the finest grid, at most `MOST_PLACES`."""
        grids = [_grid(part.site) for part in self.parts]
        finest = max(grids, key=lambda grid: grid.rows * grid.columns)
        times = -(-max(finest.rows, finest.columns) // MOST_PLACES)
        return -(-finest.rows // times), -(-finest.columns // times)

    def of(self, positions: Positions) -> Map:
        """Return the map of one image; all nan where it has other positions than the example.

        Parameters
        ----------
        positions
            Name of a site -> (position, unit).
        """
        rows, columns = self.size
        total = np.zeros((rows, columns))
        for part in self.parts:
            grid, x = _grid(part.site), positions[part.site.name]
            if len(x) != part.site.n_positions:
                return np.full((rows, columns), np.nan)
            stop = grid.start + grid.rows * grid.columns
            z = part.z_at(x)[grid.start : stop].reshape(grid.rows, grid.columns)
            total += len(part.units) * resampled(z, rows, columns)
        return total / self.n_units


def kind_maps(
    layout: Layout, mask: UnitMask, scale: tuple[Vector, Vector], readout: Readout
) -> dict[str, KindMap]:
    """Return the map of every kind of site that has selected units with a place.

    Parameters
    ----------
    layout
        The sites as the adapter has them, without a unit for every position.
    mask
        The selected units, over these sites.
    scale
        Mean and standard deviation of every unit of the mask.
    readout
        How the contrast reads them.
    """
    mean, sd = scale
    chosen = mask.selected & has_scale(mean, sd)
    kinds: dict[str, list[SelectedAt]] = {}
    for site, units in zip(layout.sites, mask.layout.slices.values(), strict=True):
        own = np.flatnonzero(chosen[units])
        if own.size and site.grid is not None and site.grid.rows * site.grid.columns > 1:
            scaled = mean[units][own], sd[units][own]
            kinds.setdefault(site.kind, []).append(SelectedAt(site, own, *scaled, readout))
    return {kind: KindMap(parts) for kind, parts in kinds.items()}


def read_maps(
    adapter: ReadsPositions,
    maps: Mapping[str, KindMap],
    shown: Mapping[str, Sequence[Stimulus]],
    stimuli: Sequence[Stimulus],
    readout: Readout,
    *,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Maps]:
    """Return the maps of some images by kind of site, nan where one is not read.

    Parameters
    ----------
    adapter
        The network.
    maps
        From `kind_maps`.
    shown
        Kind of site -> the images whose maps are wanted.
    stimuli
        The images that are read, each once.
    readout
        How the contrast reads them.
    on_progress
        Called as images are read.
    """
    made = {kind: np.full((len(shown[kind]), *m.size), np.nan) for kind, m in maps.items()}
    names = {part.site.name: part.site for m in maps.values() for part in m.parts}
    layout = Layout(tuple(names.values()))
    for number, scalars in adapter.positions(stimuli, layout.scalars(), readout):
        positions = values_of_units(layout, scalars)
        for kind, values in made.items():
            for place, stimulus in enumerate(shown[kind]):
                if stimulus == stimuli[number]:
                    values[place] = maps[kind].of(positions)
        on_progress(1)
    return made


def resampled(x: Map, rows: int, columns: int) -> Float64[np.ndarray, "new_row new_column"]:
    """Return a map on another grid over the same image; every value is the mean over its area.

    The mean of the map stays.

    Parameters
    ----------
    x
        The map.
    rows, columns
        Of the other grid.

    Examples
    --------
    >>> resampled(np.array([[0.0, 3.0]]), 1, 4).tolist()
    [[0.0, 0.0, 3.0, 3.0]]
    """
    made: np.ndarray = _overlaps(len(x), rows) @ x @ _overlaps(x.shape[1], columns).T
    return made


def _overlaps(n_from: int, n_to: int) -> Float64[np.ndarray, "to from"]:
    """Return which part of each new interval each old one covers."""
    old, new = np.arange(n_from + 1) / n_from, np.arange(n_to + 1)[:, np.newaxis] / n_to
    low, high = np.maximum(old[:-1], new[:-1]), np.minimum(old[1:], new[1:])
    covered: Float64[np.ndarray, "to from"] = np.clip(high - low, 0, None) * n_to
    return covered


def _grid(site: Site) -> Grid:
    assert site.grid is not None
    return site.grid


def why_no_map(adapter: object, pool: Pool, maps: Mapping[str, KindMap], kind: str) -> str:
    """Return why there is no map of a kind of site; empty if there is one.

    Parameters
    ----------
    adapter
        The network.
    pool
        Of the read-out.
    maps
        From `kind_maps`.
    kind
        The kind of site.
    """
    if not isinstance(adapter, ReadsPositions):
        return "the adapter of this model cannot show single positions"
    if not isinstance(adapter, ShowsPictures):
        return "the adapter of this model does not tell which part of a file it is shown"
    if pool == "cls":
        return "with pool cls these units are read at the class token, which is no place in it"
    if kind not in maps:
        return "the positions of these sites are not known to be places in it"
    return ""
