"""How far two selections of units agree, and what chance would give."""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool
from scipy.stats import hypergeom, rankdata

from deeploc.core.stats import Vector


@dataclass(frozen=True)
class Overlap:
    """How far two selections among the same units agree.

    Parameters
    ----------
    n_units
        How many units there are to select from.
    first, second
        How many each selects.
    both
        How many both select.
    """

    n_units: int
    first: int
    second: int
    both: int

    @classmethod
    def of(cls, a: Bool[np.ndarray, " unit"], b: Bool[np.ndarray, " unit"]) -> "Overlap":
        """Return the overlap of two selections over the same units.

        Parameters
        ----------
        a, b
            Which units are selected.
        """
        return cls(len(a), int(a.sum()), int(b.sum()), int((a & b).sum()))

    @property
    def jaccard(self) -> float:
        """Shared units / units that either selects, 0-1; nan where neither selects any."""
        either = self.first + self.second - self.both
        return self.both / either if either else nan

    @property
    def dice(self) -> float:
        """2 x shared units / sum of both sizes, 0-1; nan where neither selects any."""
        total = self.first + self.second
        return 2 * self.both / total if total else nan

    @property
    def expected(self) -> float:
        """How many units two random selections of these sizes share on average."""
        return self.first * self.second / self.n_units if self.n_units else nan

    @property
    def p(self) -> float:
        """The probability that two random selections of these sizes share as many, or more.

        It is that of the hypergeometric distribution, one-sided: Fisher's exact test.
        """
        at_least = hypergeom.sf(self.both - 1, self.n_units, self.first, self.second)
        return float(at_least)


def rank_correlation(a: Vector, b: Vector) -> float:
    """Return Spearman's correlation over the units that are finite in both; nan if one is constant.

    Parameters
    ----------
    a, b
        ``(unit,)``.
    """
    finite = np.isfinite(a) & np.isfinite(b)
    return correlation(rankdata(a[finite]), rankdata(b[finite]))


def correlation(a: Vector, b: Vector) -> float:
    """Return Pearson's correlation over the units that are finite in both; nan if one is constant.

    Parameters
    ----------
    a, b
        ``(unit,)``.
    """
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return nan
    return float(np.corrcoef(a, b)[0, 1])
