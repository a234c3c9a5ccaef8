"""Several runs side by side: which units they share, where these are, and their verdicts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from deeploc.core.overlap import Overlap, correlation, rank_correlation
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import RunError
from deeploc.report.site_counts import SiteCounts
from deeploc.runs.find import find_runs
from deeploc.runs.manifest import Manifest
from deeploc.runs.saved_run import SavedRun

Units = Int[np.ndarray, " _"]
"""The numbers of some units in a layout."""

Statistic = Float64[np.ndarray, " _"]
"""The statistic of every unit of one of several runs, which may differ in their units."""


@dataclass(frozen=True)
class PairOverlap:
    """How far two runs agree at the sites of one kind that both have.

    Parameters
    ----------
    first, second
        The numbers of the runs, from 0.
    sites
        The kind of site.
    overlap
        The units that each selects.
    r
        Pearson's correlation of their statistics.
    rho
        Spearman's.
    names
        The sites that both have.
    """

    first: int
    second: int
    sites: str
    overlap: Overlap
    r: float
    rho: float
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        both = self.overlap
        derived = {
            "jaccard": both.jaccard,
            "dice": both.dice,
            "expected": both.expected,
            "p": both.p,
        }
        value = {**asdict(self), "overlap": {**asdict(both), **derived}}
        names = value.pop("names")  # of every pair, they would be most of the document
        return {**value, "n_sites": len(names)}


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs, and how far every two of them agree.

    Parameters
    ----------
    runs
        The runs.
    t
        The statistics of all units of each.
    pairs
        Every two of them at every kind of site that both have.
    left_out
        Folder -> why a run that lies beside them is left out.
    """

    runs: Sequence[SavedRun]
    t: Sequence[Statistic]
    pairs: Sequence[PairOverlap]
    left_out: Mapping[Path, str] = field(default_factory=dict)

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """What each run is made from."""
        return tuple(run.folder.read_manifest() for run in self.runs)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of site of all runs, each once."""
        return tuple(dict.fromkeys(kind for run in self.runs for kind in run.mask.layout.kinds))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each run's folder, with as much of its path as tells equal names apart."""
        paths = [run.folder.path.resolve() for run in self.runs]
        names = [path.name for path in paths]
        above = Path(os.path.commonpath([path.parent for path in paths]))
        return tuple(
            path.relative_to(above).as_posix() if names.count(path.name) > 1 else path.name
            for path in paths
        )

    @property
    def shared_kinds(self) -> tuple[str, ...]:
        """The kinds of site at which some two runs are compared."""
        compared = {pair.sites for pair in self.pairs}
        return tuple(kind for kind in self.kinds if kind in compared)

    def of_kind(self, kind: str) -> list[PairOverlap]:
        """Return every two runs at the sites of a kind.

        Parameters
        ----------
        kind
            The kind of site.
        """
        return [pair for pair in self.pairs if pair.sites == kind]

    def pair(self, first: int, second: int, kind: str) -> PairOverlap | None:
        """Return two runs at the sites of a kind, None where they share no such site.

        Parameters
        ----------
        first, second
            The numbers of the runs, in either order.
        kind
            The kind of site.
        """
        return self._by_runs.get((min(first, second), max(first, second), kind))

    @cached_property
    def _by_runs(self) -> dict[tuple[int, int, str], PairOverlap]:
        return {(pair.first, pair.second, pair.sites): pair for pair in self.pairs}

    def site_counts(self, kind: str) -> list[SiteCounts | None]:
        """Return for each run where its selected units are, None where it has no such site.

        Parameters
        ----------
        kind
            The kind of site.
        """
        return [SiteCounts.of(run.mask, kind) for run in self.runs]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        runs = [
            {
                "run": str(run.folder.path),
                "contrast": manifest.contrast["name"],
                "model": manifest.address,
                "ranked_by": manifest.ranked_by,
                "selected": {k: len(run.mask.of_kind(k)) for k in run.mask.layout.kinds},
                "sites": _counts(run),
                "verdict": run.verdict and run.verdict.to_json(),
            }
            for run, manifest in zip(self.runs, self.manifests, strict=True)
        ]
        left_out = [{"run": str(path), "why": why} for path, why in self.left_out.items()]
        overlaps = [pair.to_json() for pair in self.pairs]
        return {"runs": runs, "overlaps": overlaps, "left_out": left_out}


def _counts(run: SavedRun) -> dict[str, int]:
    """Return how many units are selected at every site."""
    mask = run.mask
    return {site.name: int(mask.at(site.name).sum()) for site in mask.layout.sites}


def compare_runs(folders: Sequence[Path]) -> ComparedRuns:
    """Return how far the selections of several runs agree, from their folders alone.

    Two runs are compared at the sites that both have, of equal name, kind and number of units.

    Parameters
    ----------
    folders
        Run folders, and folders that hold run folders.

    Raises
    ------
    RunError
        If one is no run with a selection, or is named twice, or there are fewer than two.
    """
    found = find_runs(folders)
    if len(found.runs) < 2:
        where = ", ".join(map(str, folders))
        reason = "".join(f"; left out: {why}" for why in found.left_out.values())
        raise RunError(f"{where}: {len(found.runs)} run to compare; name at least two{reason}")
    # a StatMap holds a dozen vectors more, which would all stay in memory
    t = [run.folder.read_stat_map().t.copy() for run in found.runs]
    pairs = [
        pair
        for a, b in combinations(range(len(found.runs)), 2)
        for pair in _pairs((a, b), (found.runs[a].mask, found.runs[b].mask), (t[a], t[b]))
    ]
    return ComparedRuns(found.runs, t, pairs, found.left_out)


def _pairs(
    numbers: tuple[int, int], masks: tuple[UnitMask, UnitMask], t: tuple[Statistic, Statistic]
) -> Iterator[PairOverlap]:
    sites = masks[0].layout.units
    common = set(sites) & set(masks[1].layout.units)
    for kind in masks[0].layout.kinds:
        names = tuple(site[0] for site in sites if site in common and site[1] == kind)
        if not names:
            continue
        units = [units_at(mask.layout, names) for mask in masks]
        selected = [mask.selected[at] for mask, at in zip(masks, units, strict=True)]
        statistics = [of_run[at] for of_run, at in zip(t, units, strict=True)]
        both = correlation(*statistics), rank_correlation(*statistics)
        yield PairOverlap(*numbers, kind, Overlap.of(*selected), *both, names)


def units_at(layout: Layout, names: Sequence[str]) -> Units:
    """Return the numbers of the units of some sites, in the order of the names.

    Parameters
    ----------
    layout
        All sites.
    names
        Some of their names, at least one.
    """
    return np.concatenate([np.arange(layout.n_units)[layout.slices[name]] for name in names])


def share_text(value: float) -> str:
    """Return a share or a correlation with two digits; a dash where there is none.

    Examples
    --------
    >>> [share_text(value) for value in (0.876, -0.001)]
    ['0.88', '0.00']
    """
    if value != value:
        return "\N{EN DASH}"
    return f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")
