"""p values that stay true when there are many of them: many units, many tests, many draws.

Everything here is float64 NumPy: no model, no torch. A p of nan is that of a test that could not
be made: it stays nan and does not count as a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy import special

from deeploc.core.stats import Vector, slices


def benjamini_hochberg(p: Vector) -> Vector:
    """Return Benjamini-Hochberg adjusted p values q.

    Selecting ``q <= alpha`` controls the false discovery rate at ``alpha`` where the tests are
    independent or positively dependent. Equals ``scipy.stats.false_discovery_control`` wherever
    that is defined (it refuses nan).

    Source: Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289-300,
    doi:10.1111/j.2517-6161.1995.tb02031.x.

    Parameters
    ----------
    p
        ``(unit,)``, between 0 and 1; nan where there is no test.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.02, np.nan, 0.3]))
    array([0.03, 0.03,  nan, 0.3 ])
    """
    return _step_up(p, 1.0)


def benjamini_yekutieli(p: Vector) -> Vector:
    """Return Benjamini-Yekutieli adjusted p values: q under any dependence of the tests.

    The Benjamini-Hochberg q times ``1 + 1/2 + ... + 1/m`` for ``m`` tests, at most 1. Equals
    ``scipy.stats.false_discovery_control(method="by")`` wherever that is defined.

    Source: Benjamini & Yekutieli (2001), Ann. Stat. 29, 1165-1188, doi:10.1214/aos/1013699998.

    Parameters
    ----------
    p
        ``(unit,)``, between 0 and 1; nan where there is no test.

    Examples
    --------
    >>> benjamini_yekutieli(np.array([0.02, np.nan, 0.2]))
    array([0.06,  nan, 0.3 ])
    """
    harmonic = float(special.digamma(np.count_nonzero(~np.isnan(p)) + 1)) + np.euler_gamma
    return _step_up(p, harmonic)


def holm(p: Vector) -> Vector:
    """Return Holm's step-down adjusted p values.

    Rejecting where they are at most ``alpha`` makes any false rejection at all no likelier than
    ``alpha``, under any dependence of the tests. The k-th smallest of ``m`` becomes the largest of
    ``(m - j + 1) p_j`` over ``j <= k``, at most 1.

    Source: Holm (1979), Scand. J. Stat. 6, 65-70.

    Parameters
    ----------
    p
        ``(unit,)``, between 0 and 1; nan where there is no test.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.06,  nan, 0.06])
    """
    adjusted = np.full_like(p, np.nan)
    order = _rising(p)
    scaled = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _step_up(p: Vector, factor: float) -> Vector:
    """Return the smallest of ``factor m p_j / j`` over the ranks ``j >= k``, at most 1."""
    q = np.full_like(p, np.nan)
    order = _rising(p)
    scaled = p[order]
    for part in slices(order.size):
        rank = np.arange(part.start + 1, min(part.stop, order.size) + 1)
        scaled[part] *= factor * order.size / rank
    np.minimum.accumulate(scaled[::-1], out=scaled[::-1])
    q[order] = np.minimum(scaled, 1.0, out=scaled)
    return q


def _rising(p: Vector) -> Int[np.ndarray, " test"]:
    """Return the indices of the p values that are not nan, from the smallest p to the largest."""
    order: Int[np.ndarray, " test"] = np.argsort(p, kind="stable")
    return order[: np.count_nonzero(~np.isnan(p))]  # nan sorts last


def empirical_p(observed: float, null: Sequence[float]) -> float:
    """Return (1 + how many of ``null`` are >= ``observed``) / (1 + len(null)).

    The permutation p value that can never be 0; with 20 controls the smallest is 0.048. What
    cannot be compared (nan) counts as ``>=``.

    Source: Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9, 39,
    doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    observed
        The statistic; larger is more extreme.
    null
        The same statistic under the null hypothesis, once per control.
    """
    return (1 + int(_hits(observed, null).sum())) / (1 + len(null))


def _hits(observed: float, null: Sequence[float]) -> Bool[np.ndarray, " draw"]:
    """Return which of ``null`` are at least as large as ``observed``, or cannot be compared."""
    return ~(np.asarray(null, dtype=np.float64) < observed)


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """A Monte Carlo test that draws controls until enough of them are as extreme as the observed.

    Controls are drawn one at a time until ``hits`` of them are at least as large as what was
    observed, or ``most`` are drawn. Stopped by hits at draw ``l``, p is ``hits / l``; else it is
    (1 + hits so far) / (1 + ``most``). Where the observed is exchangeable with the controls,
    ``P(p <= a) <= a`` for every ``a``, and ``P(p <= a) = a`` for every p that can occur if no two
    are equal: stopping early costs no validity. A true null takes 23 draws on average (of 199); a
    p of 0.005 takes them all.

    Source: Besag & Clifford (1991), Biometrika 78, 301-304, doi:10.1093/biomet/78.2.301.

    Parameters
    ----------
    hits
        So many controls as extreme as the observed end the test; at least 1.
    most
        So many controls end it in any case; at least 1.

    Raises
    ------
    ValueError
        If ``hits`` or ``most`` is below 1.

    Examples
    --------
    >>> test = SequentialTest(hits=2, most=9)
    >>> test.is_decided(1.0, [3.0, 0.0]), test.is_decided(1.0, [3.0, 0.0, 2.0])
    (False, True)
    >>> test.p(1.0, [3.0, 0.0, 2.0]), test.p(1.0, [0.0] * 9)
    (0.6666666666666666, 0.1)
    """

    hits: int = 5
    most: int = 199

    def __post_init__(self) -> None:
        if self.hits < 1 or self.most < 1:
            raise ValueError(
                f"a sequential test needs at least one hit and one draw, got hits={self.hits} and "
                f"most={self.most}"
            )

    def is_decided(self, observed: float, null: Sequence[float]) -> bool:
        """Return whether no further control is drawn.

        Parameters
        ----------
        observed
            The statistic; larger is more extreme.
        null
            That of every control so far, in the order in which they were drawn.
        """
        stop, n_hits = self.counted(observed, null)
        return n_hits == self.hits or stop == self.most

    def p(self, observed: float, null: Sequence[float]) -> float:
        """Return the p value; controls drawn after the test was decided do not count.

        Before it is decided, p is that of a test of as many controls as there are: true as long
        as what ended the drawing was not their values.

        Parameters
        ----------
        observed, null
            As for `is_decided`.
        """
        stop, n_hits = self.counted(observed, null)
        return n_hits / stop if n_hits == self.hits else (1 + n_hits) / (1 + stop)

    def counted(self, observed: float, null: Sequence[float]) -> tuple[int, int]:
        """Return how many controls count, and how many of these are hits.

        Parameters
        ----------
        observed, null
            As for `is_decided`.
        """
        hits = _hits(observed, null[: self.most])
        ends = np.flatnonzero(hits)[self.hits - 1 : self.hits]
        stop = int(ends[0]) + 1 if ends.size else hits.size
        return stop, int(hits[:stop].sum())
