"""The verdict in plain words, of answers that the test writes by hand."""

import numpy as np
import pytest

from deeploc.core.units import Layout, Site, UnitMask
from deeploc.core.verdict import Answer, Network, Reply, Verdict
from deeploc.report.plain_verdict import evidence, was_there_a_network, what_would_change_it, where

PRIMARY = "perplexity/perplexity/sentences"


def network_of(by: str = "contrast", n_ablated: int = 2, **answers: Answer) -> Network:
    numbers = {
        "selective": {"selected_units": 2, "significant_units": 9, "d": 1.5, "random_d": 0.1},
        "causal": {"intact": 20.0, "ablated": 90.0, "damage": 1.5, "random_sets": 199,
                   "as_damaging": 0},
        "specific": {"worst_other": "continuation/exact-match/copying", "difference": 3.0},
    }  # fmt: skip
    replies = [
        Reply(question, answer, 0.001 if answer != "not asked" else None, 0.05,
              numbers.get(question, {}))
        for question, answer in answers.items()
    ]  # fmt: skip
    return Network("block", 100, n_ablated, 2.0, tuple(replies), by=by)


def verdict_of(network: Network) -> Verdict:
    return Verdict(0.05, PRIMARY, (), 199, (network,))


NEEDS = "the model needs these units for perplexity (sentences)"
CHAINS: list[tuple[dict[str, Answer], str, str]] = [
    (
        {"selective": "no"},
        "Not shown: on fresh stimuli the selected units do not prefer sentences.",
        "A preference of the selected units for sentences on fresh stimuli",
    ),
    (
        {"selective": "not asked"},
        "Not known: the selection was not tested.",
        "Stimuli to test the selection on that did not select",
    ),
    (
        {"selective": "yes"},
        "Not known: whether the model needs the selected units was not tested.",
        "A measurement of what the model can do without these units",
    ),
    (
        {"selective": "yes", "causal": "no"},
        "No: without these units, perplexity (sentences) is no worse than without as many random",
        "More damage to perplexity (sentences) than random sets do, p ≤ 0.05",
    ),
    (
        {"selective": "yes", "causal": "yes"},
        f"In part: {NEEDS}; whether only for that was not tested.",
        "Other outcomes measured beside it that can suffer",
    ),
    (
        {"selective": "yes", "causal": "yes", "specific": "no"},
        f"In part: {NEEDS}, but not more than for something else that was measured.",
        "perplexity (sentences) suffering more than continuation exact-match (copying), p ≤ 0.05.",
    ),
    (
        {"selective": "yes", "causal": "yes", "specific": "yes"},
        f"Yes: {NEEDS}, and for that more than for anything else that was measured.",
        "Fresh stimuli or another seed with which one of these tests fails",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "found", "missing"), CHAINS)
def test_the_answer_follows_the_chain(answers: dict[str, Answer], found: str, missing: str):
    """Its first word is the answer; what would change it is the first question not affirmed."""
    network = network_of(**answers)
    verdict = verdict_of(network)

    assert was_there_a_network(network, verdict, "sentences", "").startswith(found)
    assert what_would_change_it(network, verdict, "sentences", ())[0].startswith(missing)


def test_nothing_selected_is_no_network():
    """The reason follows the answer."""
    network = network_of(n_ablated=0)

    assert was_there_a_network(network, verdict_of(network), "a", "none is") == "No: none is."


def test_a_ranking_need_not_be_selective():
    """Units by attribution that do not prefer the contrast can be needed all the same."""
    network = network_of(by="attribution", selective="no", causal="yes", specific="yes")

    assert was_there_a_network(network, verdict_of(network), "a", "").startswith("Yes: ")


def test_damage_of_massive_units_alone_is_no_network():
    """Without them it is not beyond random sets."""
    massive = Reply("robust", "no", numbers={"massive": {"p": 0.4}})
    network = network_of(selective="yes", causal="yes")
    network = Network("block", 100, 2, 2.0, (*network.replies, massive))
    verdict = verdict_of(network)

    assert was_there_a_network(network, verdict, "a", "").startswith("No: all damage beyond")
    assert "without the massive units" in what_would_change_it(network, verdict, "a", ())[0]


def test_doubts_are_listed():
    """Descriptions that are not affirmed, and what else the conditions differ in."""
    network = network_of(selective="yes", reliable="partly", causal="no", trained="no")
    warnings = ["tokens differ", "words differ"]

    assert what_would_change_it(network, verdict_of(network), "a", warnings)[1:] == [
        "Two halves of the stimuli share only a part of the units.",
        "An untrained copy of the model has such units as well.",
        "The conditions also differ otherwise: tokens differ (1 more below).",
    ]


def test_evidence_is_that_of_the_questions_asked():
    """A line per question of the chain, with its numbers."""
    network = network_of(selective="yes", causal="yes", specific="not asked")

    lines = evidence(network, verdict_of(network), "t")

    assert [line.partition(":")[0] for line in lines] == ["Preference", "Damage"]
    assert "perplexity (sentences) 20.0 → 90.0; none of 199 matched random sets" in lines[1]


def test_where_names_the_sites_beyond_chance():
    """Of 10 among 100 units at 4 sites each holds at most 5 by chance: 6 are more."""
    layout = Layout(tuple(Site(f"h.{i}", "block", 25) for i in range(4)))
    selected = np.zeros(100, dtype=bool)
    selected[[0, 25, 26, 27, 50, 51, 52, 53, 54, 55]] = True
    spread = np.zeros(100, dtype=bool)
    spread[[0, 30, 60, 90]] = True

    assert where(UnitMask(layout, selected), "block") == (
        "10 of 100 block units (10 %), at 3 of 4 sites; "
        "more than expected by chance at h.2 (6 of 25)."
    )
    assert where(UnitMask(layout, spread), "block").endswith(
        "nowhere more than expected by chance."
    )
