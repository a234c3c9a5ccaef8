"""Where the selected units of a run are: their number at every site of a kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeploc.core.units import UnitMask

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class SiteCounts:
    """The selected units of a run per site of one kind, in forward order.

    Parameters
    ----------
    names
        The sites.
    sizes
        How many units each has.
    counts
        How many of them are selected.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, mask: UnitMask, kind: str) -> "SiteCounts | None":
        """Return the counts of a selection; None where the model has no such site.

        Parameters
        ----------
        mask
            The selected units.
        kind
            The kind of site.
        """
        sites = [site for site in mask.layout.sites if site.kind == kind]
        if not sites:
            return None
        counts = tuple(int(mask.at(site.name).sum()) for site in sites)
        return cls(tuple(s.name for s in sites), tuple(s.n_units for s in sites), counts)

    @property
    def total(self) -> int:
        """How many units are selected."""
        return sum(self.counts)

    @property
    def shares(self) -> list[float]:
        """The share of the selected units that is at each site, 0-1; 0 where none is selected."""
        return [count / self.total if self.total else 0.0 for count in self.counts]

    @property
    def chance(self) -> list[float]:
        """The share that each site has by chance: that of its units, 0-1."""
        return [size / sum(self.sizes) for size in self.sizes]

    @property
    def peak(self) -> int:
        """The number of the site with most selected units, the first of equal ones."""
        return int(np.argmax(self.counts))


def as_blocks(shares: Sequence[float], width: int) -> str:
    """Return shares as a line of blocks, the highest of which is the largest share.

    Neighbours are added up where there are more shares than characters. What is not 0 is never
    drawn as a space, and 0 always is.

    Parameters
    ----------
    shares
        Not negative.
    width
        Most characters.

    Examples
    --------
    >>> as_blocks([0.0, 0.1, 0.2, 0.4], 10), as_blocks([0.1, 0.1, 0.0, 0.1], 2)
    (' ▂▄█', '█▄')
    """
    parts = np.array_split(np.asarray(shares, dtype=float), min(width, len(shares)))
    sums = [float(part.sum()) for part in parts]
    highest = max(sums)
    top = len(_BLOCKS)
    heights = [int(np.ceil(round(top * s / highest, 9))) if highest else 0 for s in sums]
    return "".join(_BLOCKS[height - 1] if height else " " for height in heights)
