"""Sites, units, and the two things we say about them: a statistic and a yes/no.

A *site* is a named place in a model where activations can be read and written.
A *unit* is one scalar of a site. All units of a model share one index, so that
a statistic or a selection over the whole model is a plain vector.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from deeploc.core.site import KINDS as KINDS  # sites and units are spoken of together
from deeploc.core.site import Grid as Grid
from deeploc.core.site import Site as Site
from deeploc.core.site import Tap as Tap
from deeploc.core.site import parse_site_name as parse_site_name
from deeploc.errors import AdapterError, MaskError

Vector = Float64[np.ndarray, " unit"]
Selection = Bool[np.ndarray, " unit"]


@dataclass(frozen=True)
class Layout:
    """The ordered sites of a model; gives every unit its global index.

    Raises
    ------
    AdapterError
        If two sites have the same name: units are addressed by the name of their site.
    """

    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        names = Counter(site.name for site in self.sites)
        if repeated := [name for name, n in names.items() if n > 1]:
            raise AdapterError(
                f"two sites are called {repeated[0]!r}; units are addressed by the name of their "
                "site, so every site needs another name; leave one of them out"
            )

    @cached_property
    def n_units(self) -> int:
        """Number of units over all sites."""
        return sum(site.n_units for site in self.sites)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Site name -> the slice of the unit axis it occupies."""
        slices: dict[str, slice] = {}
        start = 0
        for site in self.sites:
            slices[site.name] = slice(start, start + site.n_units)
            start += site.n_units
        return slices

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of site, each once, in order of first appearance."""
        return tuple(dict.fromkeys(site.kind for site in self.sites))

    @cached_property
    def units(self) -> tuple[tuple[str, str, int], ...]:
        """Name, kind and number of units of every site: what gives a unit index its meaning.

        Layouts with equal ``units`` address the same units, also if one was read from a file.
        """
        return tuple((site.name, site.kind, site.n_units) for site in self.sites)

    def of_kind(self, kind: str) -> Selection:
        """Return which units belong to sites of ``kind``."""
        sizes = [site.n_units for site in self.sites]
        return np.repeat([site.kind == kind for site in self.sites], sizes)

    def choose(self, wanted: Sequence[str]) -> "Layout":
        """Return the sites named by kinds or by globs over site names, in the order asked for.

        A known kind that the model lacks is passed over where others of ``wanted`` are there.

        Raises
        ------
        AdapterError
            If one of ``wanted`` names no site of this model.
        """
        chosen: dict[Site, None] = {}
        for pattern in wanted:
            hits = [s for s in self.sites if s.kind == pattern or fnmatchcase(s.name, pattern)]
            chosen.update(dict.fromkeys(hits))
            if not hits and pattern not in KINDS:
                raise self.without(pattern)
        if not chosen and wanted:
            raise self.without(wanted[0])
        return Layout(tuple(chosen))

    def without(self, wanted: str) -> AdapterError:
        """Return the error for a kind or name of which the model has no site."""
        return AdapterError(
            f"this model has no site of kind or name {wanted!r}; it has the kinds "
            f"{', '.join(self.kinds) or 'none'}; `deeploc sites MODEL` lists every site"
        )

    def per_position(self) -> "Layout":
        """Return the layout in which every position of every unit counts (pool ``none``).

        Raises
        ------
        AdapterError
            If one of them has no fixed number.
        """
        return Layout(tuple(site.per_position() for site in self.sites))

    def scalars(self) -> "Layout":
        """Return the layout in which every scalar of a site is a unit (heads become wider)."""
        return Layout(tuple(site.scalars() for site in self.sites))

    def table(self) -> list[dict[str, str | int]]:
        """Return the site table that every artefact carries: name, kind, n_units, offset.

        Where a unit is several scalars there is their number, too: ``width``.
        """
        return [
            {
                "name": site.name,
                "kind": site.kind,
                "n_units": site.n_units,
                "offset": self.slices[site.name].start,
                **({"width": site.width} if site.width > 1 else {}),
            }
            for site in self.sites
        ]

    @classmethod
    def from_table(cls, table: Sequence[Mapping[str, Any]]) -> "Layout":
        """Return the layout that a site table describes; the inverse of ``table``.

        Raises
        ------
        ValueError
            If the offsets in the table are not those of its sites.
        """
        layout = cls(tuple(_site(row) for row in table))
        for row, part in zip(table, layout.slices.values(), strict=True):
            if int(row["offset"]) != part.start:
                raise ValueError(
                    f"the site table places {row['name']!r} at unit {row['offset']}, but its "
                    f"sites before it have {part.start} units"
                )
        return layout


def _site(row: Mapping[str, Any]) -> Site:
    path, call, tap = parse_site_name(str(row["name"]))
    width = int(row.get("width", 1))
    return Site(path, str(row["kind"]), int(row["n_units"]), tap, call=call, width=width)


_ROUNDING = 8 * np.finfo(np.float64).eps
"""A selectivity index below this is that of two equal means."""

VECTORS = ("t", "df", "p", "q", "d", "baseline", "magnitude")
"""The vectors that every StatMap has, by name."""


@dataclass(frozen=True)
class StatMap:
    """What one contrast says about every unit of a model; all vectors are float64 ``(unit,)``.

    ``t`` is what units are ranked by, the contrast's ``statistic``: t of Welch's or the paired
    test, z of the rank test, d' or the selectivity index. ``p`` is its two-sided p, ``df`` its
    degrees of freedom (infinite for z; d' and the index have no null distribution of their own, and
    p and df are those of Welch's t), ``q`` the p adjusted by Benjamini-Hochberg or, where the
    contrast asks for it, Benjamini-Yekutieli, ``d`` Cohen's d in pooled standard deviations
    (also of paired stimuli, so that it compares). ``means`` and
    ``sds`` hold the response per condition in the model's own activation units (of the absolute
    activation where the read-out says ``abs``). ``baseline`` is the mean signed activation over
    all stimuli of the localizer: what mean ablation holds a unit at; 0 where an activation is not
    finite. ``magnitude`` is the mean absolute activation over the same stimuli; nan there.
    ``ranking`` is what units are ranked by where that is not t (an attribution); else None.
    """

    layout: Layout
    t: Vector
    df: Vector
    p: Vector
    q: Vector
    d: Vector
    baseline: Vector
    magnitude: Vector
    means: Mapping[str, Vector] = field(default_factory=dict)
    sds: Mapping[str, Vector] = field(default_factory=dict)
    ranking: Vector | None = None

    def __post_init__(self) -> None:
        plain = {name: getattr(self, name) for name in VECTORS}
        named = {f"mean.{name}": vector for name, vector in self.means.items()}
        named |= {f"sd.{name}": vector for name, vector in self.sds.items()}
        named |= {} if self.ranking is None else {"ranking": self.ranking}
        for name, vector in (plain | named).items():
            if vector.shape != (self.layout.n_units,):
                raise MaskError(
                    f"{name} has {vector.size} values but the layout has {self.layout.n_units} "
                    f"units over {len(self.layout.sites)} sites"
                )

    @property
    def scores(self) -> Vector:
        """What a selection ranks the units by: t, unless there is another ranking."""
        return self.t if self.ranking is None else self.ranking

    @property
    def constant(self) -> Selection:
        """Which units have no statistic, because they do not vary over the stimuli compared.

        Their t is 0 / 0 and written as 0, with d = 0 and p = 1, and 1 or, of the rank test,
        infinitely many degrees of freedom. A unit that is constant within each condition, with
        other means, is among them where the statistic divides by a variance. None is where units
        are ranked by something else than the statistic.
        """
        if self.ranking is not None:
            return np.zeros(self.layout.n_units, dtype=bool)
        without: Selection = (np.abs(self.t) <= _ROUNDING) & (self.d == 0) & (self.p == 1)
        undefined: Selection = without & ((self.df == 1) | np.isinf(self.df))
        return undefined


@dataclass(frozen=True)
class UnitMask:
    """The units selected from a model: boolean ``(unit,)`` over ``layout``."""

    layout: Layout
    selected: Selection

    def __post_init__(self) -> None:
        if self.selected.shape != (self.layout.n_units,):
            raise MaskError(
                f"mask has {self.selected.size} units but the layout has "
                f"{self.layout.n_units} over {len(self.layout.sites)} sites"
            )

    def __len__(self) -> int:
        return int(self.selected.sum())

    def at(self, site: str) -> Bool[np.ndarray, " site_unit"]:
        """Return the part of the mask that belongs to the site of this name."""
        return self.selected[self.layout.slices[site]]

    def of_kind(self, kind: str) -> "UnitMask":
        """Return the same mask with only the units at sites of ``kind`` left selected."""
        return UnitMask(self.layout, self.selected & self.layout.of_kind(kind))
