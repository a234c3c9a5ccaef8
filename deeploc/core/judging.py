"""The rules of the verdict: evidence in, answers out (docs/verdict.md has them in words)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

from deeploc.core.damage import Damage, Interaction, interaction
from deeploc.core.gatekeeping import Tested, gatekeep
from deeploc.core.multiplicity import SequentialTest, empirical_p
from deeploc.core.outcomes import Deciding, Outcome
from deeploc.core.stats import ALPHA
from deeploc.core.trained import trained
from deeploc.core.verdict import CHAIN, HITS, Answer, Evidence, Network, Reply, Verdict

MOST = 0.5
"""Halves of the stimuli that have at least this share of the units in common are reliable."""


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
            j.replies(results[j.evidence.sites]),
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
        chain = [_selective_p(evidence), _causal_p(primary, test, level), p]
        return cls(evidence, test, difference, chain)

    def replies(self, tested: Sequence[Tested]) -> tuple[Reply, ...]:
        """Return the replies, given what the chain of tests came to."""
        numbers = [self._selective(), self._causal(), self._specific()]
        chain = [
            Reply(
                question,
                _answer(result),
                result.p if result.level else None,
                result.level or None,
                n,
            )
            for question, result, n in zip(CHAIN, tested, numbers, strict=True)
        ]
        reliable = _reliable(self.evidence)
        robust = _robust(self.evidence.modes, is_causal=tested[1].rejected)
        copy = trained(self.evidence, is_selective=tested[0].rejected)
        return (chain[0], reliable, *chain[1:], robust, copy)

    def _selective(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            "selected_units": self.evidence.n_selected,
            "significant_units": self.evidence.n_significant,
        }
        if self.evidence.selected is not None and self.evidence.random is not None:
            numbers |= {"d": self.evidence.selected.d, "random_d": self.evidence.random.d}
        permuted = self.evidence.reliability and self.evidence.reliability.permutations
        if permuted:
            numbers |= {"family_wise_units": permuted.n_above, "permutations": permuted.n}
        return numbers

    def _causal(self) -> dict[str, Any]:
        damage = self.evidence.primary
        if damage is None:
            return {}
        n, hits = self.test.counted(damage.observed, damage.null)
        drawn = list(damage.controls.values())[:n]
        return {
            "intact": damage.intact,
            "ablated": damage.ablated,
            "damage": damage.observed,
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


def _selective_p(evidence: Evidence) -> float | None:
    """Return the p of the preference for the positive side.

    On fresh stimuli it is one-sided; where none were held out, that of the largest t among
    permuted labels.
    """
    test = evidence.selected
    if test is None:
        permuted = evidence.reliability and evidence.reliability.permutations
        return None if not permuted or isnan(permuted.p) else permuted.p
    if isnan(test.p):
        return None
    return test.p_one_sided


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


def _answer(result: Tested) -> Answer:
    if result.p is None or not result.level:
        return "not asked"
    return "yes" if result.rejected else "no"


def _reliable(evidence: Evidence) -> Reply:
    """Describe whether two halves of the stimuli select the same units.

    Where they share less than `MOST`, more than chance is partly.
    """
    halves = evidence.reliability and evidence.reliability.halves
    if not halves or isnan(halves.overlap):
        return Reply("reliable", "not asked")
    answer: Answer = "partly" if halves.more_than_chance(evidence.n_units) else "no"
    if halves.overlap >= MOST:
        answer = "yes"
    return Reply("reliable", answer, numbers=asdict(halves))


def _robust(modes: Mapping[str, Damage], *, is_causal: bool) -> Reply:
    """Describe in which further modes the damage is beyond that of the random sets."""
    if not is_causal or not modes:
        return Reply("robust", "not asked")
    p = {mode: empirical_p(damage.observed, damage.null) for mode, damage in modes.items()}
    holds = [value <= ALPHA for value in p.values()]
    answer: Answer = "yes" if all(holds) else "partly" if any(holds) else "no"
    return Reply("robust", answer, numbers={"modes": p})
