"""Several runs side by side: which units they share, and what their verdicts are."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from deeploc.core.overlap import Overlap, correlation
from deeploc.core.units import Layout
from deeploc.errors import RunError
from deeploc.runs.manifest import Manifest
from deeploc.runs.saved_run import SavedRun, load_run

Units = Int[np.ndarray, " _"]
"""The numbers of some units in a layout."""


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
    """

    first: int
    second: int
    sites: str
    overlap: Overlap
    r: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        both = self.overlap
        derived = {
            "jaccard": both.jaccard,
            "dice": both.dice,
            "expected": both.expected,
            "p": both.p,
        }
        return {**asdict(self), "overlap": {**asdict(both), **derived}}


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs, and how far every two of them agree.

    Parameters
    ----------
    runs
        The runs.
    pairs
        Every two of them at every kind of site that both have.
    """

    runs: Sequence[SavedRun]
    pairs: Sequence[PairOverlap]

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """What each run is made from."""
        return tuple(run.folder.read_manifest() for run in self.runs)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of site of all runs, each once."""
        return tuple(dict.fromkeys(kind for run in self.runs for kind in run.mask.layout.kinds))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        runs = [
            {
                "run": str(run.folder.path),
                "contrast": manifest.contrast["name"],
                "model": manifest.address,
                "ranked_by": manifest.ranked_by,
                "selected": {k: len(run.mask.of_kind(k)) for k in run.mask.layout.kinds},
                "verdict": run.verdict and run.verdict.to_json(),
            }
            for run, manifest in zip(self.runs, self.manifests, strict=True)
        ]
        return {"runs": runs, "overlaps": [pair.to_json() for pair in self.pairs]}


def compare_runs(folders: Sequence[Path]) -> ComparedRuns:
    """Return how far the selections of several runs agree, from their folders alone.

    Two runs are compared at the sites that both have, of equal name, kind and number of units.

    Parameters
    ----------
    folders
        Run folders, at least two.

    Raises
    ------
    RunError
        If one is no run with a selection, or is named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for number, folder in enumerate(resolved):
        if folder in resolved[:number]:
            raise RunError(f"{folders[number]} is named twice; name each run once")
    runs = [load_run(folder) for folder in folders]
    pairs = [
        pair
        for a, b in combinations(range(len(runs)), 2)
        for pair in _pairs(a, b, runs[a], runs[b])
    ]
    return ComparedRuns(runs, pairs)


def _pairs(a: int, b: int, first: SavedRun, second: SavedRun) -> Iterator[PairOverlap]:
    common = set(first.mask.layout.units) & set(second.mask.layout.units)
    kinds = dict.fromkeys(kind for _, kind, _ in first.mask.layout.units)
    for kind in kinds:
        shared = [site for site in first.mask.layout.units if site in common and site[1] == kind]
        if not shared:
            continue
        names = [name for name, _, _ in shared]
        masks = [r.mask.selected[_units(r.mask.layout, names)] for r in (first, second)]
        t = [r.stat_map.t[_units(r.stat_map.layout, names)] for r in (first, second)]
        yield PairOverlap(a, b, kind, Overlap.of(*masks), correlation(*t))


def _units(layout: Layout, names: Sequence[str]) -> Units:
    """Return the numbers of the units of some sites, in the order of the names."""
    return np.concatenate([np.arange(layout.n_units)[layout.slices[name]] for name in names])
