"""Massive activations: units orders of magnitude larger than all others at their site.

A model needs them whatever it is asked, since they hold its attention to the first token or act as
constants, so that silencing one destroys every ability. A set of units that holds one says nothing
of a network: it is known which sets do.

Source: Sun et al. (2024), arXiv:2402.17762: larger than 100, and than 1,000 times the median of the
absolute activations. The same dimensions recur from block to block ("rogue dimensions", Timkey &
van Schijndel 2021, doi:10.18653/v1/2021.emnlp-main.372): where such a dimension is not yet, or no
longer, that large, silencing it does the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal

import numpy as np

from deeploc.core.json_values import nulled
from deeploc.core.units import Layout, Selection
from deeploc.errors import MaskError

MASSIVE, MASSIVE_VALUE = 1_000.0, 100.0
"""A massive activation is larger than so many medians of its site, and larger than this value."""

STRETCH = 20.0
"""A dimension that is massive in several blocks counts wherever it exceeds this many medians."""

RESIDUAL = "block"
"""The kind of site whose units are the same dimensions everywhere."""

N_LISTED = 5
"""So many of the largest units of a site are listed."""

Reason = Literal["massive", "stretch"]


@dataclass(frozen=True, slots=True)
class LargeUnit:
    """One unit and its largest absolute activation.

    Parameters
    ----------
    index
        Its number within the site.
    peak
        The largest absolute activation at any position of any stimulus.
    ratio
        The largest of these in medians of the site: of the absolute activations, other than 0, of
        the same stimulus.
    """

    index: int
    peak: float
    ratio: float


@dataclass(frozen=True)
class SiteMagnitudes:
    """How large the activations at a site are.

    Parameters
    ----------
    site, kind
        Its name and its kind.
    median
        The median absolute activation other than 0, averaged over stimuli.
    above
        How many units exceed 20, 100 and 1,000 medians, in this order.
    largest
        The units with the largest ratio, at most `N_LISTED`.
    massive
        The massive units, by their index.
    stretch
        Those that are not massive here but belong to a dimension that is in several blocks.
    """

    site: str
    kind: str
    median: float
    above: tuple[int, int, int]
    largest: tuple[LargeUnit, ...]
    massive: tuple[int, ...] = ()
    stretch: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dimension:
    """A dimension that is massive in several blocks: the sites where it is, and its stretch."""

    index: int
    massive: tuple[str, ...]
    stretch: tuple[str, ...]


@dataclass(frozen=True)
class MassiveActivations:
    """The massive activations of a model, site by site.

    Parameters
    ----------
    sites
        Every site that was read.
    n_stimuli
        On how many stimuli.
    missing
        Why they are not known; empty where they are.
    """

    sites: tuple[SiteMagnitudes, ...] = ()
    n_stimuli: int = 0
    missing: str = ""

    def units(self, layout: Layout) -> Selection:
        """Return which units are massive, or in the stretch of a dimension that is.

        Parameters
        ----------
        layout
            The sites that count.

        Raises
        ------
        MaskError
            If a site has fewer units than it had.
        """
        selected = np.zeros(layout.n_units, dtype=bool)
        for site in self.sites:
            indices = [*site.massive, *site.stretch]
            if site.site in layout.slices and indices:
                at_site = selected[layout.slices[site.site]]
                if not 0 <= min(indices) <= max(indices) < at_site.size:
                    raise MaskError(
                        f"site {site.site} has {at_site.size} units, but massive ones were found "
                        f"up to number {max(indices)}; localize again"
                    )
                at_site[indices] = True
        return selected

    @property
    def dimensions(self) -> list[Dimension]:
        """The dimensions that are massive in several blocks."""
        blocks = [site for site in self.sites if site.kind == RESIDUAL]
        candidates = [
            Dimension(
                index,
                tuple(site.site for site in blocks if index in site.massive),
                tuple(site.site for site in blocks if index in site.stretch),
            )
            for index in sorted({index for site in blocks for index in site.massive})
        ]
        return [dimension for dimension in candidates if len(dimension.massive) > 1]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; null stands for what is infinite."""
        plain: dict[str, Any] = nulled(asdict(self))
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "MassiveActivations":
        """Return what `to_json` wrote.

        Parameters
        ----------
        value
            What it returned.

        Raises
        ------
        KeyError, TypeError
            If it is of another form.
        """
        sites = [
            SiteMagnitudes(
                site["site"],
                site["kind"],
                site["median"],
                tuple(site["above"]),
                tuple(
                    LargeUnit(
                        unit["index"],
                        *(inf if unit[key] is None else unit[key] for key in ("peak", "ratio")),
                    )
                    for unit in site["largest"]
                ),
                tuple(site["massive"]),
                tuple(site["stretch"]),
            )
            for site in value["sites"]
        ]
        return cls(tuple(sites), value["n_stimuli"], value["missing"])


def massive_selection(massive: MassiveActivations | None, layout: Layout) -> Selection | None:
    """Return which units are massive, None where that is not known.

    Parameters
    ----------
    massive
        What is known of the model; None where nobody looked.
    layout
        The sites that count.
    """
    return None if massive is None or massive.missing else massive.units(layout)
