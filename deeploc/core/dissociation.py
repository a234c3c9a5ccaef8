"""The double dissociation: two masks, each of which harms its own outcome more than the other's.

The rule, for the masks A and B of two contrasts and the primary outcomes of these:

* z is damage in standard deviations of the mask's own matched random sets (`Damage.z`).
* Mask A *dissociates* if it damages primary A more than its random sets do, and if the difference
  ``z(primary A) - z(primary B)`` is larger than that of its random sets. Both have to hold, so p is
  the larger of the two. So a dissociation is defined for single cases: Crawford, Garthwaite & Gray
  (2003), Cortex 39, 357-370, doi:10.1016/S0010-9452(08)70117-5.
* The dissociation is *double* if A dissociates and B does, with the outcomes exchanged. Its size is
  the smaller of the two differences, its p the larger of the two p (intersection-union test: Berger
  1982, Technometrics 24, 295-300, doi:10.1080/00401706.1982.10487790), adjusted over the kinds of
  site by Holm's procedure.

Two simpler statistics would not do. The sum of both differences is large where one alone is large.
And p of the smaller difference against the smaller one of pairs of random sets is too small where
only one of the two is real, since the smaller one of two chance differences is small: at 5 % it
calls a fifth of single dissociations double (simulated: 19 sets, normal damage).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isnan, nan
from typing import Literal

import numpy as np

from deeploc.core.damage import Damage, interaction
from deeploc.core.multiplicity import empirical_p, holm
from deeploc.core.stats import ALPHA


@dataclass(frozen=True)
class Dissociation:
    """Whether a mask harms its own outcome, and more so than the other one.

    Parameters
    ----------
    own, other
        z of the damage on its own primary outcome, and on that of the other contrast.
    difference
        The first minus the second; 0 where both are infinite.
    p_own
        The share of random sets (and the mask itself) that do as much damage to its own outcome; 1
        where there is no damage.
    p_difference
        The share of them with as large a difference.
    n
        The number of random sets.
    """

    own: float
    other: float
    difference: float
    p_own: float
    p_difference: float
    n: int

    @property
    def p(self) -> float:
        """The larger p: both the damage and the difference have to be beyond random sets."""
        return max(self.p_own, self.p_difference)


def dissociation(own: Damage, other: Damage) -> Dissociation | None:
    """Return how far a mask harms its own primary outcome more than that of another contrast.

    p is that of Phipson & Smyth (2010), doi:10.2202/1544-6115.1585: random sets that tie with the
    mask count as doing as much. Damage without limit (a perplexity of infinity) has an infinite z,
    unless random sets do the same.

    Parameters
    ----------
    own, other
        The damage on both outcomes by the mask and by the same random sets; with fewer than two of
        these, or where the intact model has no finite value, None is returned.
    """
    compared = interaction(own, [other])
    if compared is None or not (own.is_measured and other.is_measured):
        return None
    return Dissociation(
        own.z(own.observed),
        other.z(other.observed),
        compared.difference,
        empirical_p(own.observed, own.null) if own.observed > 0 else 1.0,
        compared.p,
        compared.n,
    )


@dataclass(frozen=True)
class DoubleDissociation:
    """Whether two masks dissociate in opposite directions at the sites of one kind.

    Parameters
    ----------
    first, second
        The dissociation of either mask; None where it was not tested.
    adjusted
        `p`, adjusted over the kinds of site; nan where it was not tested.
    n_kinds
        The number of kinds of site that were tested.
    level
        The family-wise error rate.
    """

    first: Dissociation | None
    second: Dissociation | None
    adjusted: float = nan
    n_kinds: int = 1
    level: float = ALPHA

    @property
    def difference(self) -> float:
        """The smaller of the two differences; nan where one was not tested."""
        if self.first is None or self.second is None:
            return nan
        return min(self.first.difference, self.second.difference)

    @property
    def p(self) -> float:
        """The larger of the two p; nan where one was not tested."""
        if self.first is None or self.second is None:
            return nan
        return max(self.first.p, self.second.p)

    @property
    def answer(self) -> Literal["yes", "no", "not asked"]:
        """Whether the dissociation is double; not asked where so few sets could not affirm it."""
        if self.first is None or self.second is None:
            return "not asked"
        if min(self.first.n, self.second.n) < sets_needed(self.n_kinds, self.level):
            return "not asked"
        return "yes" if self.adjusted <= self.level else "no"


def double_dissociations(
    tested: Mapping[str, tuple[Dissociation | None, Dissociation | None]], level: float = ALPHA
) -> dict[str, DoubleDissociation]:
    """Return the double dissociation at every kind of site, p adjusted over these (Holm).

    Parameters
    ----------
    tested
        Kind of site -> the dissociation of either mask.
    level
        The family-wise error rate, between 0 and 1.
    """
    p = np.array([DoubleDissociation(*pair).p for pair in tested.values()], dtype=np.float64)
    adjusted, n_kinds = holm(p).tolist(), sum(not isnan(value) for value in p)
    return {
        kind: DoubleDissociation(*pair, value, n_kinds, level)
        for (kind, pair), value in zip(tested.items(), adjusted, strict=True)
    }


def sets_needed(n_kinds: int, level: float = ALPHA) -> int:
    """Return the fewest random sets with which a double dissociation can be affirmed.

    Parameters
    ----------
    n_kinds
        The number of kinds of site that are tested together.
    level
        The family-wise error rate, between 0 and 1.

    Examples
    --------
    >>> sets_needed(1), sets_needed(2)
    (19, 39)
    """
    return ceil(n_kinds / level) - 1
