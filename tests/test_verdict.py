"""The rules of the verdict, on hand-made evidence."""

from dataclasses import replace
from math import inf, log, nan
from statistics import mean, stdev

import pytest
from scipy.stats import binom

from deeploc.core.damage import Damage, damage_at, interaction
from deeploc.core.judging import verdict
from deeploc.core.outcomes import Deciding, deciding_outcomes, main_outcomes
from deeploc.core.resampling import Halves, KindReliability, Permutations
from deeploc.core.responses import Preference
from deeploc.core.results import Better, Score
from deeploc.core.verdict import CHAIN, Evidence, Verdict
from deeploc.report.verdict_text import lines_of

PRIMARY = ("perplexity", "perplexity", "sentences")
OTHER = ("continuation", "exact-match", "copying")
DECIDING = Deciding(PRIMARY, (OTHER,))


def damage(
    ablated: float,
    controls: list[float],
    intact: float = 0.9,
    better: Better = "higher",
    metric: str = "accuracy",
) -> Damage:
    named = {f"random-{i}": value for i, value in enumerate(controls)}
    return Damage(intact, ablated, named, better, metric, 100)


def preference(t: float, p: float) -> Preference:
    return Preference("block", "selected", t, 100.0, p, t / 5)


def evidence(
    primary: Damage | None, other: Damage | None = None, t: float = 9.0, p: float = 1e-9
) -> Evidence:
    others = {} if other is None else {"continuation/exact-match/copying": other}
    random = preference(0.1, 0.9)
    return Evidence(
        "block",
        1000,
        10,
        10,
        1.0,
        77,
        selected=preference(t, p),
        random=random,
        primary=primary,
        others=others,
    )


def answers_of(made: Verdict) -> list[str]:
    (network,) = made.networks
    return [network.answer(question) for question in (*CHAIN, "robust")]


SPREAD = [0.88 + 0.0001 * i for i in range(199)]


def test_causal_and_specific() -> None:
    """Damage beyond all of 199 random sets, on the primary outcome only."""
    made = verdict([evidence(damage(0.3, SPREAD), damage(0.89, SPREAD))], DECIDING, 199)
    selective, _, causal, specific, robust, _ = made.networks[0].replies

    assert answers_of(made) == ["yes", "yes", "yes", "not asked"]
    assert (selective.p, causal.p, specific.p) == (5e-10, 1 / 200, 1 / 200)
    assert causal.numbers["as_damaging"] == 0
    assert specific.numbers["worst_other"] == "continuation/exact-match/copying"
    assert robust.level is None


def test_as_much_damage_elsewhere_is_not_specific() -> None:
    """The other outcome suffers as much in SDs of its controls: the difference is nothing rare."""
    varied = [0.88 + 0.0001 * ((37 * i) % 199) for i in range(199)]
    made = verdict([evidence(damage(0.3, SPREAD), damage(0.3, varied))], DECIDING, 199)

    assert answers_of(made)[:3] == ["yes", "yes", "no"]


@pytest.mark.parametrize(
    ("intact", "chance", "controls", "can"),
    [
        (0.97, 0.0, [0.9, 0.95], True),
        (1 / 60, 0.0, [0.0, 1 / 60], False),  # half of the sets destroy it as well
        (1 / 60, 0.0, [1 / 60, 2 / 60], True),
        (0.0, 0.0, [0.0, 0.0], False),  # there is nothing to lose
        (0.55, 0.5, [0.5, 0.55], False),
        (0.55, 0.0, [0.5, 0.55], True),
        (-2.0, 0.0, [-2.5, -1.9], True),  # a log-probability has no worst value
    ],
)
def test_an_outcome_near_guessing_cannot_suffer(
    intact: float, chance: float, controls: list[float], can: bool
) -> None:
    """Losing it altogether must stand out from the random sets."""
    assert replace(damage(intact, controls, intact), chance=chance).can_suffer == can


def test_perplexity_can_always_suffer() -> None:
    """It has no worst value, even where random sets make it infinite."""
    assert damage(20.0, [inf, 21.0], 20.0, "lower", "perplexity").can_suffer


def test_outcomes_that_cannot_suffer_are_not_compared() -> None:
    """That arithmetic does not suffer says nothing of a model that has none."""
    floor = damage(0.0, [0.0, 1 / 60] * 99, intact=1 / 60)
    only = verdict([evidence(damage(0.3, SPREAD), floor)], DECIDING, 199)
    some = evidence(damage(0.3, SPREAD), damage(0.89, SPREAD))
    both = replace(some, others={**some.others, "continuation/exact-match/arithmetic": floor})
    two = verdict([both], DECIDING, 199)

    assert answers_of(only)[:3] == ["yes", "yes", "not asked"]
    assert reasons_of(only)["specific"] == (
        "continuation exact-match (copying) (intact 0.0167) cannot suffer; name outcomes that can "
        "(verdict.against)"
    )
    assert answers_of(two)[:3] == ["yes", "yes", "yes"]
    assert reasons_of(two)["specific"].endswith("(arithmetic) (intact 0.0167) cannot suffer")


def test_a_model_that_guesses_has_nothing_to_lose() -> None:
    """The question is not asked, and the line says why; one right item of 100 is something."""
    guessing = verdict([evidence(damage(0.0, [], intact=0.0))], DECIDING, 199)
    lost = verdict([evidence(damage(0.0, [0.01] * 199, intact=0.01))], DECIDING, 199)

    assert answers_of(guessing)[:3] == ["yes", "not asked", "not asked"]
    assert reasons_of(guessing)["causal"] == (
        "perplexity (sentences) 0 → 0: the intact model only guesses; name another outcome "
        "(verdict.primary)"
    )
    assert answers_of(lost)[:2] == ["yes", "yes"]


@pytest.mark.parametrize(("intact", "above"), [(0.58, False), (0.59, True)])
def test_guessing_is_told_from_ability_at_five_per_cent(intact: float, above: bool) -> None:
    """Of 100 pairs guessing has 59 or more right in 4.4 % of the cases, 58 or more in 6.7 %."""
    pairs = replace(damage(0.5, [], intact=intact), chance=0.5)

    assert binom.sf(58, 100, 0.5) < 0.05 < binom.sf(57, 100, 0.5)
    assert pairs.above_guessing == above


def reasons_of(made: Verdict) -> dict[str, str]:
    return {question: reason for question, _, reason in lines_of(made.networks[0], made)}


def test_random_sets_that_do_as_much_end_the_test() -> None:
    """The fifth random set that does as much ends it; those after it do not count."""
    controls = [0.5, 0.2, 0.2, 0.2, 0.2, 0.2, *[0.9] * 193]
    made = verdict([evidence(damage(0.4, controls))], DECIDING, 199)
    causal = made.networks[0].replies[2]

    assert answers_of(made) == ["yes", "no", "not asked", "not asked"]
    assert causal.p == 5 / 6
    assert causal.numbers["random_sets"] == 6


def test_units_that_are_not_selective_end_the_chain() -> None:
    """However large the damage, a network is none whose preference does not hold."""
    result = [evidence(damage(0.0, SPREAD), t=1.0, p=0.3)]

    assert answers_of(verdict(result, DECIDING, 199)) == [
        "no",
        "not asked",
        "not asked",
        "not asked",
    ]


def test_the_preference_is_one_sided() -> None:
    """A strong preference for the other side is no preference."""
    assert answers_of(verdict([evidence(None, t=-20.0, p=1e-12)], None, 199))[0] == "no"


def test_too_few_controls_answer_nothing() -> None:
    """With 19 sets and two kinds of site p cannot fall to 0.025: neither yes nor no."""
    few = evidence(damage(0.3, SPREAD[:19]))
    both = verdict([few, Evidence("mlp-neurons", 10, 1, 1, 10.0, 0)], DECIDING, 199)
    alone = verdict([few], DECIDING, 199)

    assert both.networks[0].answer("causal") == "not asked"
    assert alone.networks[0].answer("causal") == "yes"


@pytest.mark.parametrize("intact", [nan, inf, -inf])
def test_without_a_finite_value_of_the_intact_model_nothing_is_answered(intact: float) -> None:
    """It is no `no`: neither is the damage tested, nor does such an outcome count among others."""
    primary = verdict([evidence(damage(nan, SPREAD, intact=intact))], DECIDING, 199)
    other = evidence(damage(0.3, SPREAD), damage(nan, SPREAD, intact=intact))
    said = "the intact model has no finite value; name another (verdict.primary)"

    assert answers_of(primary)[:3] == ["yes", "not asked", "not asked"]
    for read in (primary, Verdict.from_json(primary.to_json())):
        assert reasons_of(read)["causal"].endswith(said)
    assert answers_of(verdict([other], DECIDING, 199))[:3] == ["yes", "yes", "not asked"]


def test_no_damage_is_no() -> None:
    """Ablated units that improve the outcome are not causal, whatever random sets do."""
    assert answers_of(verdict([evidence(damage(0.95, [0.99] * 199))], DECIDING, 199))[1] == "no"


@pytest.mark.parametrize(
    ("shared", "answer"), [(10, "yes"), (5, "yes"), (4, "partly"), (1, "no"), (0, "no")]
)
def test_reliable_is_a_share_beyond_chance(shared: int, answer: str) -> None:
    """Of 10 in 1,000 units, one in common has p = 0.096 by chance, two have 0.004."""
    halves = Halves(0.9, shared / 10, 0.01)
    measured = replace(evidence(None), reliability=KindReliability("block", halves))

    assert verdict([measured], None, 199).networks[0].answer("reliable") == answer


def test_without_fresh_stimuli_permutations_decide_on_selectivity() -> None:
    """The p of the largest t among permuted labels stands in for that of the held-out test."""
    permuted = Permutations(1000, 9.0, 0.001, 4.0, 12)
    measured = replace(
        evidence(None),
        selected=None,
        random=None,
        reliability=KindReliability("block", permutations=permuted),
    )
    (reply, *_) = verdict([measured], None, 199).networks[0].replies

    assert (reply.answer, reply.p) == ("yes", 0.001)
    assert reply.numbers["family_wise_units"] == 12


def test_round_trip() -> None:
    """verdict.json reads back as what was written; what is not finite becomes null."""
    made = verdict([evidence(damage(nan, SPREAD), damage(0.89, SPREAD))], DECIDING, 199)
    again = Verdict.from_json(made.to_json())

    assert again.to_json() == made.to_json()
    assert again.networks[0].replies[2].numbers["z"] is None
    assert answers_of(again) == answers_of(made)


def test_damage_of_perplexity_is_a_difference_of_logarithms() -> None:
    """A random set that explodes must not hide the damage of the others behind its variance."""
    exploded = damage(50.0, [20.0, 21.0, 2e6], intact=20.0, better="lower", metric="perplexity")

    assert exploded.observed == pytest.approx(log(50 / 20))
    assert exploded.of(nan) == inf
    assert exploded.of(20.0) == 0.0
    logs = [0.0, log(21 / 20), log(1e5)]
    assert exploded.z(log(50 / 20)) == pytest.approx((log(50 / 20) - mean(logs)) / stdev(logs))


def test_z_where_controls_do_not_differ_counts_items() -> None:
    """Twenty equal controls: the unit is one of 100 items, not zero."""
    assert damage(0.7, [0.9] * 20).z(0.2) == pytest.approx(20.0)


def test_interaction_takes_the_worst_other_outcome() -> None:
    """One outcome that suffers as much is enough, however many are spared."""
    primary, spared, hurt = (damage(v, SPREAD) for v in (0.3, 0.9, 0.2))
    result = interaction(primary, [spared, hurt])

    assert result is not None
    assert result.worst == 1
    assert result.difference == pytest.approx(primary.z(0.6) - hurt.z(0.7))
    assert interaction(primary, []) is None


def score(mask: str, value: float, control_of: str = "", kind: str = "random") -> Score:
    place = ("none", 0.0) if mask == "none" else ("zero", 1.0)
    index = int(mask.rpartition("-")[2]) if "-" in mask else None
    sites = "none" if mask == "none" else "block"
    return Score(*PRIMARY, *place, mask, value, 9, 0, 1, sites, mask, "", control_of, kind, index)


def test_damage_takes_matched_controls_in_the_order_they_were_drawn() -> None:
    """random-10 comes after random-9; bottom and controls of another mask are left out."""
    rows = [
        score("none", 20.0),
        *(score(f"random-{i}", 20.0 + i, "top") for i in (10, 9, 0)),
        score("random-1", 99.0, "selected"),
        score("bottom", 30.0, "top", kind="bottom"),
        score("top", 25.0, kind="top"),
    ]
    result = damage_at(rows, ("block", "zero", 1.0, "top"), PRIMARY, "lower")

    assert result is not None
    assert list(result.controls) == ["random-0", "random-9", "random-10"]
    assert damage_at(rows, ("block", "mean", 1.0, "top"), PRIMARY, "lower") is None


BETTER: dict[str, dict[str, Better]] = {
    "minimal-pairs": {"accuracy": "higher", "margin": "higher"},
    "perplexity": {"perplexity": "lower", "nll": "lower"},
}
MEASURED = [
    ("minimal-pairs", "accuracy", "grammar"),
    ("minimal-pairs", "accuracy", "grammar/tense"),
    ("minimal-pairs", "margin", "grammar"),
    ("perplexity", "perplexity", "lists"),
    ("perplexity", "perplexity", "sentences"),
    ("perplexity", "nll", "sentences"),
]


def test_main_outcomes() -> None:
    """The first metric of each task, whole conditions only."""
    assert main_outcomes(MEASURED, BETTER) == [MEASURED[0], MEASURED[3], MEASURED[4]]


@pytest.mark.parametrize(
    ("primary", "against", "expected"),
    [
        (["perplexity"], None, (4, [0, 3])),
        (["perplexity", "nll"], None, (5, [0, 3])),
        (["minimal-pairs"], [["perplexity"]], (0, [3, 4])),
        (["minimal-pairs", "accuracy", "grammar/tense"], [["perplexity", "nll"]], (1, [5])),
    ],
)
def test_deciding_outcomes(
    primary: list[str], against: list[list[str]] | None, expected: tuple[int, list[int]]
) -> None:
    """Names stand for the first metric, and the first preferred condition or every condition."""
    result = deciding_outcomes(primary, against, MEASURED, BETTER, preferred=["sentences"])
    first, others = expected

    assert result == Deciding(MEASURED[first], tuple(MEASURED[i] for i in others))


def test_no_deciding_outcome_where_it_was_not_measured() -> None:
    """A task that was left out decides nothing."""
    assert deciding_outcomes(["choice"], None, MEASURED, BETTER, preferred=[]) is None


def lines(measured: Evidence) -> dict[str, str]:
    """Return the reason of every question, as it is read from verdict.json."""
    made = Verdict.from_json(verdict([measured], DECIDING, 199).to_json())
    return {question: reason for question, _, reason in lines_of(made.networks[0], made)}


def test_a_dose_of_its_own_says_whose_preference_was_tested() -> None:
    """50 units are ablated, 10 were selected: d is that of the 10."""
    own = evidence(damage(0.3, SPREAD))
    dosed = replace(own, n_ablated=50, percent=5.0)

    assert "selected units" not in lines(own)["selective"]
    assert "(of the 10 selected units)" in lines(dosed)["selective"]


@pytest.mark.parametrize(
    ("ablated", "controls", "reason"),
    [
        (0.3, SPREAD, "0.900 → 0.300; none of 199 matched random sets does as much, p = 0.005"),
        (0.3, [0.2] * 9, "0.900 → 0.300; 5 of 5 matched random sets do as much, p = 1"),
        (0.3, [0.9] * 9, "0.900 → 0.300; 9 random sets are too few to judge (--controls)"),
        (0.95, SPREAD, "0.900 → 0.950: no damage"),
        (
            nan,
            SPREAD,
            "0.900 → not finite; none of 199 matched random sets does as much, p = 0.005",
        ),
    ],
)
def test_damage_in_words(ablated: float, controls: list[float], reason: str) -> None:
    """Values before and after, how many random sets do as much, and p."""
    assert lines(evidence(damage(ablated, controls)))["causal"] == (
        f"perplexity (sentences) {reason}"
    )


def test_what_was_not_asked_says_why() -> None:
    """A chain that ended, a mode that was not measured, an outcome that is missing."""
    ended, alone = lines(evidence(damage(0.3, SPREAD), t=1.0, p=0.4)), evidence(damage(0.3, SPREAD))

    assert ended["causal"].endswith("asked only where the units are selective")
    assert ended["specific"] == ended["robust"] == "asked only where the damage is causal"
    assert lines(alone)["specific"].startswith("nothing else was measured to compare with")
    assert lines(alone)["robust"].startswith("no other ablation was measured on these units")
    assert lines(evidence(None))["causal"].startswith("the primary outcome was not measured")
    not_needed = lines(evidence(None, t=1.0, p=0.4))["causal"]
    assert not_needed == "asked only where the units are selective"
