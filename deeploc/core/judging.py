"""The rules of the verdict: evidence in, answers out (docs/verdict.md has them in words)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

from deeploc.core.damage import Damage, Interaction, interaction
from deeploc.core.gatekeeping import Tested, gatekeep
from deeploc.core.multiplicity import SequentialTest, empirical_p
from deeploc.core.outcomes import Deciding, Outcome
from deeploc.core.resampling import KindReliability
from deeploc.core.responses import Preference
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
            j.evidence.massive.n if j.evidence.massive else None,
            j.evidence.by,
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
        others = [damage for damage in evidence.others.values() if damage.can_suffer]
        difference = interaction(primary, others) if primary else None
        p = difference.p if difference else None
        chain = [
            selective_p(evidence.selected, evidence.reliability),
            _causal_p(primary, test, level),
            p,
        ]
        asked = chain if evidence.by == "contrast" else chain[1:]
        return cls(evidence, test, difference, asked)

    def replies(self, tested: Sequence[Tested]) -> tuple[Reply, ...]:
        """Return the replies, given what the chain of tests came to."""
        if self.evidence.by != "contrast":
            return self._replies_of_ranking(tested)
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
        robust = self._robust(chain[1].answer)
        copy = trained(self.evidence, is_selective=tested[0].rejected)
        return (chain[0], reliable, *chain[1:], robust, copy)

    def _replies_of_ranking(self, tested: Sequence[Tested]) -> tuple[Reply, ...]:
        """Return the replies about units that are ranked by something else than the contrast."""
        p = selective_p(self.evidence.selected, None)
        answer: Answer = "not asked" if p is None else "yes" if p <= ALPHA else "no"
        causal, specific = (
            Reply(
                question,
                _answer(result),
                result.p if result.level else None,
                result.level or None,
                n,
            )
            for question, result, n in zip(
                CHAIN[1:], tested, (self._causal(), self._specific()), strict=True
            )
        )
        return (
            Reply("selective", answer, p, numbers=self._selective()),
            Reply("reliable", "not asked", numbers={"by": self.evidence.by}),
            causal,
            specific,
            self._robust(causal.answer),
            trained(self.evidence, is_selective=True),
        )

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
            "above_guessing": damage.above_guessing,
            **self._holding_massive(damage, n),
        }

    def _holding_massive(self, damage: Damage, n: int) -> dict[str, int]:
        """Return how many of the first n random sets hold massive units, and of those that hit."""
        if self.evidence.massive is None:
            return {}
        holding = self.evidence.massive.controls
        counted = list(damage.controls)[:n]
        hits = [name for name in counted if not damage.of(damage.controls[name]) < damage.observed]
        return {
            "random_sets_massive": sum(name in holding for name in counted),
            "as_damaging_massive": sum(name in holding for name in hits),
        }

    def _robust(self, causal: Answer) -> Reply:
        """Describe whether the answer to ``causal`` holds in further modes, without massive units.

        Where it is no, only because of random sets that hold massive units, it does not hold.
        """
        modes = self.evidence.modes if causal == "yes" else {}
        p = {mode: empirical_p(damage.observed, damage.null) for mode, damage in modes.items()}
        holds = [value <= ALPHA for value in p.values()]
        numbers: dict[str, Any] = {"modes": p}
        massive = self._without_massive(causal)
        if massive is not None:
            numbers |= {"massive": massive}
            holds.append((massive["p"] <= ALPHA) == (causal == "yes"))
        if not holds:
            return Reply("robust", "not asked")
        answer: Answer = "yes" if all(holds) else "partly" if any(holds) else "no"
        return Reply("robust", answer, numbers=numbers)

    def _without_massive(self, causal: Answer) -> dict[str, Any] | None:
        """Return what remains of the damage without massive units; None where they play no part."""
        massive, damage = self.evidence.massive, self.evidence.primary
        if massive is None or damage is None or causal == "not asked" or damage.observed <= 0:
            return None
        n = self.test.counted(damage.observed, damage.null)[0]
        if not massive.n and not self._holding_massive(damage, n)["as_damaging_massive"]:
            return None
        numbers: dict[str, Any] = {"units": massive.n, "of": self.evidence.n_ablated}
        if massive.without is None:
            return {**numbers, "p": 1.0}
        sets, hits = self.test.counted(massive.without.observed, massive.without.null)
        return {
            **numbers,
            "intact": massive.without.intact,
            "ablated": massive.without.ablated,
            "random_sets": sets,
            "as_damaging": hits,
            "p": _without_p(massive.without, self.test),
        }

    def _specific(self) -> dict[str, Any]:
        others = self.evidence.others
        compared = [name for name, damage in others.items() if damage.can_suffer]
        at_floor = {name: d.intact for name, d in others.items() if not d.can_suffer}
        left_out: dict[str, Any] = {"cannot_suffer": at_floor} if at_floor else {}
        if self.difference is None:
            return left_out
        return {
            "difference": self.difference.difference,
            "worst_other": compared[self.difference.worst],
            "random_sets": self.difference.n,
            **left_out,
        }


def selective_p(selected: Preference | None, reliability: KindReliability | None) -> float | None:
    """Return the p of the preference for the positive side; None where it was not tested.

    On fresh stimuli it is one-sided; where none were held out, that of the largest t among
    permuted labels.

    Parameters
    ----------
    selected
        The contrast tested on the selected units and fresh stimuli; None where none were held out.
    reliability
        What resampling the localizing stimuli says; None where it was not done.
    """
    if selected is None:
        permuted = reliability and reliability.permutations
        return None if not permuted or isnan(permuted.p) else permuted.p
    if isnan(selected.p):
        return None
    return selected.p_one_sided


def _causal_p(damage: Damage | None, test: SequentialTest, level: float) -> float | None:
    """Return the p of the damage; None where it cannot be told, or by too few controls."""
    if damage is None or not damage.is_measured or not damage.above_guessing:
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


def _without_p(damage: Damage, test: SequentialTest) -> float:
    """Return the p of what remains without massive units, 1 where no damage does."""
    return test.p(damage.observed, damage.null) if damage.observed > 0 else 1.0
