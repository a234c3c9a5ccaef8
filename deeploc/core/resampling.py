"""How reliable a localization is: what resampling its own stimuli says, per kind of site."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from typing import Any

from scipy.stats import hypergeom

from deeploc.core.json_values import nulled, restored
from deeploc.core.stats import ALPHA


@dataclass(frozen=True, slots=True)
class Halves:
    """Two random halves of the stimuli, localized apart.

    ``r`` is Pearson's correlation of their t maps. ``overlap`` is the share of the selected units
    that both select, ``2 |A and B| / (|A| + |B|)`` (Dice 1945, doi:10.2307/1932409), which for
    selections of one size k is ``|A and B| / k``; ``chance`` is what random selections of these
    sizes share on average, then k / n. nan where nothing is selected or t does not vary.
    """

    r: float
    overlap: float
    chance: float

    def more_than_chance(self, n_units: int) -> bool:
        """Return whether both select more units in common than random selections do.

        That is the upper tail of the hypergeometric distribution at 5 %: the number of units that
        two random selections share, of the size k that shares k / n by chance.

        Parameters
        ----------
        n_units
            How many units there are to select from.
        """
        k = round(self.chance * n_units)
        by_chance = hypergeom.sf(round(self.overlap * k) - 1, n_units, k, k)
        return bool(by_chance <= ALPHA)


@dataclass(frozen=True, slots=True)
class Folds:
    """The preference of units on stimuli that did not select them, fold by fold.

    ``d`` holds, per fold, Cohen's d of the contrast in the fold: of the mean z of the units that
    the other folds select. nan where these select none.
    """

    d: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over folds, nan where a fold has no d."""
        return sum(self.d) / len(self.d) if self.d else nan


@dataclass(frozen=True, slots=True)
class Permutations:
    """The largest t of the units beside the largest under ``n`` labellings at random.

    ``p`` is its family-wise p, ``n_above`` the number of units whose own is at most 5 %, which are
    those above the ``threshold``. With several control conditions (``against: each``) the null is
    that no condition of the comparison differs from any other.
    """

    n: int
    t: float
    p: float
    threshold: float
    n_above: int


@dataclass(frozen=True, slots=True)
class KindReliability:
    """The reliability of the units at one kind of site; None where it cannot be computed."""

    sites: str
    halves: Halves | None = None
    folds: Folds | None = None
    permutations: Permutations | None = None


@dataclass(frozen=True)
class Reliability:
    """The reliability of a localization, and ``missing``: part -> why it cannot be computed."""

    kinds: Sequence[KindReliability]
    missing: Mapping[str, str] = field(default_factory=dict)

    def of(self, sites: str) -> KindReliability:
        """Return that of a kind of site.

        Parameters
        ----------
        sites
            The kind.
        """
        return next((kind for kind in self.kinds if kind.sites == sites), KindReliability(sites))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; null stands for nan."""
        kinds = [nulled(asdict(kind)) for kind in self.kinds]
        return {"kinds": kinds, "missing": dict(self.missing)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Reliability":
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
        return cls([_kind(row) for row in value["kinds"]], dict(value["missing"]))


def _kind(row: Mapping[str, Any]) -> KindReliability:
    halves, folds, permutations = row["halves"], row["folds"], row["permutations"]
    return KindReliability(
        row["sites"],
        Halves(**restored(halves)) if halves else None,
        Folds(tuple(nan if d is None else d for d in folds["d"])) if folds else None,
        Permutations(**restored(permutations)) if permutations else None,
    )
