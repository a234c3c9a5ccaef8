"""The response profile: the responses of units to every condition, and its table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import hypot, nan, sqrt
from statistics import NormalDist
from typing import Any, Literal, get_args

from deeploc.core.csv_rows import from_table, to_table
from deeploc.core.json_values import nulled, restored
from deeploc.core.stats import ALPHA

Units = Literal["selected", "random", "all"]
"""The selected units of a kind, as many matched random ones, or every unit of the kind."""

UNITS: tuple[Units, ...] = get_args(Units)


@dataclass(frozen=True, slots=True)
class Response:
    """One row of profile.csv: the mean response of some units to one condition.

    ``response`` is in the model's own activation units (of the absolute activation where the
    read-out says ``abs``), ``z`` in standard deviations of each unit over the localizing stimuli;
    both are means over ``n`` stimuli of the mean over units, between the ends of their 95 %
    interval. What is not finite, or rests on no unit, is nan.
    """

    sites: str
    condition: str
    units: Units
    n: int
    response: float
    ci_low: float
    ci_high: float
    z: float
    z_low: float
    z_high: float


@dataclass(frozen=True, slots=True)
class Preference:
    """The contrast tested on the mean z of some units: t, its df and two-sided p, Cohen's d.

    t is Welch's, or that of paired stimuli where the contrast pairs them.

    With ``against: each`` it is the comparison with the smallest t. nan where there is no test.
    """

    sites: str
    units: Units
    t: float
    df: float
    p: float
    d: float

    @property
    def holds(self) -> bool:
        """Whether the preferred side stayed ahead: t > 0 at p <= 0.05."""
        return self.t > 0 and self.p <= ALPHA

    @property
    def p_one_sided(self) -> float:
        """The p of a preference for the positive side alone."""
        return self.p / 2 if self.t > 0 else 1 - self.p / 2

    @property
    def d_interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval of d, ``d -+ 1.96 sqrt((d / t)^2 + d^2 / (2 df))``.

        For two samples of equal variance ``(d / t)^2`` is ``(n1 + n2) / (n1 n2)``, and this the
        large-sample interval of Hedges & Olkin (1985), Statistical Methods for Meta-Analysis,
        p. 86, with the degrees of freedom in place of ``n1 + n2``. Welch's t brings the variance
        that each side has. Without any variance t and d are 0, and so are the ends.
        """
        if self.t == 0:
            return self.d, self.d
        reach = NormalDist().inv_cdf(0.975) * hypot(self.d / self.t, self.d / sqrt(2 * self.df))
        return self.d - reach, self.d + reach


@dataclass(frozen=True)
class Profile:
    """The response profile of a run; ``held_out``: on stimuli that did not localize."""

    held_out: bool
    responses: Sequence[Response]
    preferences: Sequence[Preference]

    @property
    def kinds(self) -> list[str]:
        """The kinds of site, each once, in order of first appearance."""
        return list(dict.fromkeys(row.sites for row in self.responses))

    def of(self, sites: str, units: Units) -> list[Response]:
        """Return the responses of a group of units, in the order of conditions.

        Parameters
        ----------
        sites
            The kind of site.
        units
            The group: ``selected``, ``random`` or ``all``.
        """
        return [row for row in self.responses if (row.sites, row.units) == (sites, units)]

    def preference(self, sites: str, units: Units) -> Preference:
        """Return the test of the contrast on a group of units; nan where there is none.

        Parameters
        ----------
        sites
            The kind of site.
        units
            The group: ``selected``, ``random`` or ``all``.
        """
        tests = (p for p in self.preferences if (p.sites, p.units) == (sites, units))
        return next(tests, Preference(sites, units, nan, nan, nan, nan))

    def to_json(self) -> dict[str, Any]:
        """Return what the table does not hold as JSON; null stands for nan."""
        rows = [asdict(preference) for preference in self.preferences]
        return {"held_out": self.held_out, "effects": [nulled(row) for row in rows]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], table: str) -> "Profile":
        """Return the profile that `to_json` and `to_csv` wrote.

        Parameters
        ----------
        value
            What `to_json` returned.
        table
            What `to_csv` returned.

        Raises
        ------
        ValueError, KeyError, TypeError
            If these are of another form.
        """
        tests = [Preference(**restored(row)) for row in value["effects"]]
        profile = cls(bool(value["held_out"]), from_csv(table), tests)
        for kind in profile.kinds:
            conditions = [[row.condition for row in profile.of(kind, units)] for units in UNITS]
            if conditions[1:] != conditions[:-1]:
                raise ValueError(f"at {kind} the groups of units have different conditions")
        return profile


_COLUMNS = [field.name for field in fields(Response)]


def to_csv(responses: Iterable[Response]) -> str:
    """Return profile.csv: one row per response, floats written so that they read back unchanged."""
    return to_table(responses, _COLUMNS)


def from_csv(text: str) -> list[Response]:
    """Return the responses that ``to_csv`` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the text is of another form.
    """
    return [_row(row) for row in from_table(text, _COLUMNS)]


def _row(row: Mapping[str, str]) -> Response:
    if row["units"] not in UNITS:
        raise ValueError(f"units {row['units']!r} are none of {', '.join(UNITS)}")
    words = ("sites", "condition", "units")
    numbers: dict[str, Any] = {k: float(v) for k, v in row.items() if k not in words}
    return Response(**{**row, **numbers, "n": int(row["n"])})
