"""The verdict on a network: a few questions, each answered by a rule, at one level for a run.

docs/verdict.md has the rules in words. For each kind of site, three questions form a chain, and
each is asked only if the one before it was answered with yes:

selective
    Do the selected units prefer the positive side of the contrast on fresh stimuli?
causal
    Does ablating them damage the primary outcome more than ablating matched random sets does?
specific
    Does the primary outcome suffer more than every other one, compared with the same sets?

The chains of all kinds of site are tested by `deeploc.core.gatekeeping.gatekeep`: the probability
that anything is affirmed which is not so is at most 5 % for the whole run. ``robust`` is a
description, asked only of a causal network, and claims no error rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan
from typing import Any, Literal

from deeploc.core.damage import Damage, Interaction, interaction
from deeploc.core.gatekeeping import Tested, gatekeep
from deeploc.core.multiplicity import SequentialTest, empirical_p
from deeploc.core.outcomes import Deciding, Outcome
from deeploc.core.responses import Preference
from deeploc.core.stats import ALPHA

Reply = Literal["yes", "no", "partly", "not asked"]

CHAIN = ("selective", "causal", "specific")
"""The questions that are tested, in their order."""

HITS = 5
"""A test of damage ends when so many random sets did as much: p is then above any level."""


@dataclass(frozen=True)
class Evidence:
    """What is known about the network at the sites of one kind.

    Parameters
    ----------
    sites
        The kind of site.
    n_units
        How many units are there.
    n_ablated
        How many of them are ablated.
    percent
        The same in per cent.
    n_significant
        How many units have t > 0 at q <= 0.05.
    selected, random
        The contrast tested on fresh stimuli, on the selected and on as many random units; None
        where no stimuli were held out.
    primary
        Damage on the primary outcome; None where it was not measured.
    others
        Damage on the outcomes that must suffer less, by their names.
    modes
        Mode -> damage on the primary outcome in the further modes of ablation.
    """

    sites: str
    n_units: int
    n_ablated: int
    percent: float
    n_significant: int
    selected: Preference | None = None
    random: Preference | None = None
    primary: Damage | None = None
    others: Mapping[str, Damage] = field(default_factory=dict)
    modes: Mapping[str, Damage] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Parameters
    ----------
    question
        Its name.
    reply
        ``yes``, ``no``, ``partly`` or ``not asked``.
    p
        The p value, None where nothing was tested.
    level
        The level that it was tested at, None where it claims none.
    numbers
        What else the answer rests on.
    """

    question: str
    reply: Reply
    p: float | None = None
    level: float | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """The answers about the units at the sites of one kind."""

    sites: str
    n_units: int
    n_ablated: int
    percent: float
    answers: tuple[Answer, ...]

    def reply(self, question: str) -> Reply:
        """Return the reply to a question; ``not asked`` where there is none.

        Parameters
        ----------
        question
            Its name.
        """
        return next((a.reply for a in self.answers if a.question == question), "not asked")


@dataclass(frozen=True)
class Verdict:
    """The answers about every kind of site, and what they rest on.

    Parameters
    ----------
    level
        The family-wise error rate.
    primary
        The name of the outcome that decides; None where none was measured.
    against
        The names of those that must suffer less.
    controls
        At most so many matched random sets count.
    networks
        The answers, per kind of site.
    """

    level: float
    primary: str | None
    against: tuple[str, ...]
    controls: int
    networks: tuple[Network, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; null stands for what is not finite."""
        finite: dict[str, Any] = _finite(asdict(self))
        return finite

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Verdict":
        """Return the verdict that `to_json` described.

        Parameters
        ----------
        value
            What `to_json` returned.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is no verdict.
        """
        networks = tuple(
            Network(**{**network, "answers": tuple(Answer(**a) for a in network["answers"])})
            for network in value["networks"]
        )
        return cls(**{**value, "against": tuple(value["against"]), "networks": networks})


def verdict(
    evidence: Sequence[Evidence], deciding: Deciding | None, controls: int, level: float = ALPHA
) -> Verdict:
    """Answer the questions about every kind of site.

    Parameters
    ----------
    evidence
        What is known, per kind of site.
    deciding
        The outcomes that decide; None where none was measured.
    controls
        At most so many matched random sets count.
    level
        The family-wise error rate of the run, between 0 and 1.
    """
    test = SequentialTest(HITS, max(controls, 1))
    judged = [_Judged.of(e, test, level / len(evidence)) for e in evidence]
    results = gatekeep({j.evidence.sites: j.p_values for j in judged}, level)
    networks = [
        Network(
            j.evidence.sites,
            j.evidence.n_units,
            j.evidence.n_ablated,
            j.evidence.percent,
            j.answers(results[j.evidence.sites]),
        )
        for j in judged
    ]
    primary = outcome_name(deciding.primary) if deciding else None
    against = tuple(map(outcome_name, deciding.against)) if deciding else ()
    return Verdict(level, primary, against, controls, tuple(networks))


def outcome_name(outcome: Outcome) -> str:
    """Return an outcome as contrast files write it: ``TASK/METRIC/CONDITION``."""
    return "/".join(part for part in outcome if part)


@dataclass(frozen=True)
class _Judged:
    """The tests of one network."""

    evidence: Evidence
    test: SequentialTest
    difference: Interaction | None
    p_values: Sequence[float | None]

    @classmethod
    def of(cls, evidence: Evidence, test: SequentialTest, level: float) -> "_Judged":
        primary = evidence.primary
        difference = interaction(primary, list(evidence.others.values())) if primary else None
        p = difference.p if difference else None
        chain = [_selective_p(evidence.selected), _causal_p(primary, test, level), p]
        return cls(evidence, test, difference, chain)

    def answers(self, tested: Sequence[Tested]) -> tuple[Answer, ...]:
        """Return the answers, given what the chain of tests came to."""
        numbers = [self._selective(), self._causal(), self._specific()]
        chain = [
            Answer(question, _reply(result), result.p if result.level else None, result.level, n)
            for question, result, n in zip(CHAIN, tested, numbers, strict=True)
        ]
        return (*chain, _robust(self.evidence.modes, is_causal=tested[1].rejected))

    def _selective(self) -> dict[str, Any]:
        found: dict[str, Any] = {"significant_units": self.evidence.n_significant}
        if self.evidence.selected is not None and self.evidence.random is not None:
            found |= {"d": self.evidence.selected.d, "random_d": self.evidence.random.d}
        return found

    def _causal(self) -> dict[str, Any]:
        damage = self.evidence.primary
        if damage is None:
            return {}
        n, hits = self.test.counted(damage.observed, damage.null)
        drawn = list(damage.controls.values())[:n]
        return {
            "intact": damage.intact,
            "ablated": damage.ablated,
            "random_sets": n,
            "as_damaging": hits,
            "random_range": [min(drawn), max(drawn)] if drawn else None,
            "z": damage.z(damage.observed),
        }

    def _specific(self) -> dict[str, Any]:
        if self.difference is None:
            return {}
        return {
            "difference": self.difference.difference,
            "worst_other": list(self.evidence.others)[self.difference.worst],
            "random_sets": self.difference.n,
        }


def _selective_p(preference: Preference | None) -> float | None:
    """Return the one-sided p of a preference for the positive side."""
    if preference is None or isnan(preference.p):
        return None
    return preference.p / 2 if preference.t > 0 else 1 - preference.p / 2


def _causal_p(damage: Damage | None, test: SequentialTest, level: float) -> float | None:
    """Return the p of the damage; None where there are too few controls to say either way."""
    if damage is None:
        return None
    if damage.observed <= 0:
        return 1.0
    too_few = 1 / (1 + len(damage.controls)) > level
    if too_few and not test.is_decided(damage.observed, damage.null):
        return None
    return test.p(damage.observed, damage.null)


def _reply(result: Tested) -> Reply:
    if result.p is None or not result.level:
        return "not asked"
    return "yes" if result.rejected else "no"


def _robust(modes: Mapping[str, Damage], *, is_causal: bool) -> Answer:
    """Describe in which further modes the damage is beyond that of the random sets."""
    if not is_causal or not modes:
        return Answer("robust", "not asked")
    p = {mode: empirical_p(damage.observed, damage.null) for mode, damage in modes.items()}
    holds = [value <= ALPHA for value in p.values()]
    reply: Reply = "yes" if all(holds) else "partly" if any(holds) else "no"
    return Answer("robust", reply, numbers={"modes": p})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
