"""Further statistics of how strongly a unit prefers one side of a comparison over the other.

Beside Welch's t and Cohen's d of `deeploc.core.stats`: the t of paired stimuli, a rank test, d' and
a selectivity index. float64 NumPy: no model, no torch. What needs every single activation works on
as many units at once as fit into `_BLOCK` numbers.

A unit with a non-finite activation gets nan throughout. One that never changes carries no evidence:
t = 0, AUROC = 0.5 with p = 1, d' = 0, index 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy import special

from deeploc.core.stats import Moments, Vector, contrast_t

_BLOCK = 1 << 21
"""Most activations that are worked on at once: 16 MiB; ranking takes eight times as much."""

Sample = Float[np.ndarray, "_stimulus unit"]
Means = Float64[np.ndarray, "*labelling unit"]
_Block = Float64[np.ndarray, "unit stimulus"]
_Order = Int[np.ndarray, "unit stimulus"]


@dataclass(frozen=True, slots=True)
class RankTest:
    """The result of `mann_whitney`; all vectors are ``(unit,)``.

    Parameters
    ----------
    u
        Of how many pairs of stimuli, one from each side, the first has the larger activation;
        equal ones count half. From 0 to the number of pairs.
    auroc
        The share of pairs that ``u`` is: 0.5 is chance, 1 a unit that tells the sides apart.
    z
        ``u`` less its mean ``m n / 2``, moved towards it by 1/2 for continuity, in its standard
        deviations; positive where the first side has the larger activations. Without ties the sd is
        ``sqrt(m n (m + n + 1) / 12)``, so that the area follows from z.
    p
        Two-sided.
    """

    u: Vector
    auroc: Vector
    z: Vector
    p: Vector


def paired_t(positive: Sample, negative: Sample) -> tuple[Vector, Vector]:
    """Return t and degrees of freedom of the paired differences, per unit.

    For stimuli that belong together one by one (a sentence and its own scrambled words). Equals
    ``scipy.stats.ttest_rel``; a unit whose difference never varies has t = 0, df = 1, as in
    `deeploc.core.stats.contrast_t`.

    Source: Student (1908), Biometrika 6, 1-25, doi:10.1093/biomet/6.1.1.

    Parameters
    ----------
    positive, negative
        Activations; row i of one belongs to row i of the other. At least two rows.

    Raises
    ------
    ValueError
        If there are not as many stimuli on both sides, or fewer than two.
    """
    if len(positive) != len(negative) or len(positive) < 2:
        raise ValueError(
            f"paired stimuli come in pairs, at least two of them; there are {len(positive)} "
            f"against {len(negative)}"
        )
    t, df = np.empty(positive.shape[1]), np.empty(positive.shape[1])
    for units in _blocks(*positive.shape):
        with np.errstate(invalid="ignore"):
            differences = positive[:, units].astype(np.float64) - negative[:, units]
            moments = Moments(differences.shape[1])
            moments.add(differences)
            t[units], df[units] = contrast_t([moments], [1.0])
    return t, df


def mann_whitney(positive: Sample, negative: Sample) -> RankTest:
    """Return U, the area under the ROC curve, and the two-sided p of the rank test, per unit.

    p is asymptotic, with the corrections for ties and continuity: U and p equal
    ``scipy.stats.mannwhitneyu(method="asymptotic")``, whose p is nan where all activations of a
    unit are equal; here it is 1.

    Source: Mann & Whitney (1947), Ann. Math. Stat. 18, 50-60, doi:10.1214/aoms/1177730491; U as an
    area: Hanley & McNeil (1982), Radiology 143, 29-36, doi:10.1148/radiology.143.1.7063747.

    Parameters
    ----------
    positive, negative
        Activations of the same units for the stimuli of either side.

    Raises
    ------
    ValueError
        If one side has no stimulus.
    """
    n_positive, n_negative = len(positive), len(negative)
    if not n_positive or not n_negative:
        raise ValueError(
            f"a rank test needs stimuli on both sides; there are {n_positive} against {n_negative}"
        )
    n, n_units = n_positive + n_negative, positive.shape[1]
    u, z = np.empty(n_units), np.empty(n_units)
    for units in _blocks(n, n_units):
        values = np.empty((u[units].size, n))
        values[:, :n_positive], values[:, n_positive:] = positive[:, units].T, negative[:, units].T
        order, ranks, scale = _rank(values)
        excess = np.sum(ranks, axis=1, where=order < n_positive)
        u[units] = excess + n_positive * n_negative / 2
        z[units] = z_of(excess, np.sqrt(n_positive * n_negative) * scale)
    return RankTest(u, u / (n_positive * n_negative), z, 2 * special.ndtr(-np.abs(z)))


def centred_ranks(values: Sample) -> tuple[Float64[np.ndarray, "stimulus unit"], Vector]:
    """Return the ranks of the activations less their mean, and the unit's share of the sd of U.

    The sum of the ranks of m stimuli is then U less its mean, and ``sqrt(m n)`` times the second
    vector the sd of U against the other n, corrected for ties. nan for a unit that is not finite.

    Parameters
    ----------
    values
        Activations; equal ones of a unit share their mean rank.
    """
    ranks, scale = np.empty(values.shape), np.empty(values.shape[1])
    for units in _blocks(*values.shape):
        order, ordered, scale[units] = _rank(values[:, units].T.astype(np.float64))
        np.put_along_axis(ranks[:, units], order.T, ordered.T, axis=0)
    return ranks, scale


def z_of(
    excess: Float[np.ndarray, "*shape unit"], sd: Float[np.ndarray, " unit"]
) -> Float[np.ndarray, "*shape unit"]:
    """Return z of the rank test, with the correction for continuity; 0 where the sd is 0.

    Parameters
    ----------
    excess
        U less its mean.
    sd
        That of U.
    """
    nearer = excess - np.clip(excess, -0.5, 0.5)
    z = np.divide(nearer, sd, out=np.zeros_like(nearer), where=sd != 0)
    return np.asarray(z)


def _rank(values: _Block) -> tuple[_Order, _Block, Vector]:
    """Return the order of the values, their ranks in it less the mean, and `centred_ranks`' scale.

    A unit with a value that is not finite has nan ranks and scale.
    """
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    place = np.arange(values.shape[1])
    new = np.ones(values.shape, dtype=bool)
    np.not_equal(values[:, 1:], values[:, :-1], out=new[:, 1:])
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.roll(new, -1, axis=1)  # the last of a tie is followed by a new value, or by none
    last = np.minimum.accumulate(np.where(ends, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    n = values.shape[1]
    ranks = (first + last) / 2 - (n - 1) / 2
    ranks[~np.isfinite(values[:, [0, -1]]).all(axis=1)] = np.nan  # they sort to the ends
    squares = np.einsum("us,us->u", ranks, ranks)  # (n^3 - n - sum over ties of t^3 - t) / 12
    return order, ranks, np.sqrt(squares / max(n * (n - 1), 1))


def d_prime(positive: Moments, negative: Moments) -> Vector:
    """Return d', the difference of the means in root mean square standard deviations, per unit.

    ``(m1 - m2) / sqrt((v1 + v2) / 2)``: with as many stimuli on both sides this is Cohen's d; with
    other numbers, both sides still count the same. A unit that is constant on both sides has
    d' = 0.

    Source: Green & Swets (1966), Signal Detection Theory and Psychophysics; of face units, Baek et
    al. (2021), Nat. Commun. 12, 7328, doi:10.1038/s41467-021-27606-9.

    Parameters
    ----------
    positive, negative
        Moments of the response to either side; at least two stimuli each.
    """
    variance = (positive.variance + negative.variance) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = positive.mean - negative.mean
        return np.where(variance == 0, 0.0, difference / np.sqrt(variance))


def selectivity_index(positive: Means, negative: Means) -> Means:
    """Return the selectivity index of two mean responses (FSI where the positive ones are faces).

    ``(P - N) / (|P| + |N|)``, between -1 and 1. Where both means are positive this is the
    published ``(P - N) / (P + N)``; where their signs differ it is 1 or -1, the published sign
    rule. The literature is silent where neither is positive: with ``P + N`` below 0 its formula
    would turn the preference around, so the absolute values stand here too, and the sign is always
    that of ``P - N``. Two means of 0 give 0. It says nothing about the spread: 1/3, a response
    twice as large, is the usual criterion beside a test.

    Source: Freiwald & Tsao (2010), Science 330, 845-851, doi:10.1126/science.1194908; of units of
    networks, Raman & Hosoya (2020), Commun. Biol. 3, 221, doi:10.1038/s42003-020-0945-x.

    Parameters
    ----------
    positive, negative
        Mean responses to either side, ``(unit,)``, or of many labellings at once.

    Examples
    --------
    >>> selectivity_index(np.array([2.0, 1.0, -1.0]), np.array([1.0, -1.0, -2.0]))
    array([0.33333333, 1.        , 0.33333333])
    """
    size = np.abs(positive) + np.abs(negative)
    with np.errstate(divide="ignore", invalid="ignore"):
        index = (positive - negative) / size
    return np.where(np.isfinite(size), np.where(size == 0, 0.0, index), np.nan)


def _blocks(n_stimuli: int, n_units: int) -> Iterator[slice]:
    """Yield slices of units that together cover all of them, each of at most `_BLOCK` numbers."""
    step = max(1, _BLOCK // n_stimuli)
    yield from (slice(start, start + step) for start in range(0, n_units, step))
