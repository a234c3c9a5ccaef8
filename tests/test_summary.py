"""Effects and profiles as text, and which effects are reported."""

from collections.abc import Mapping
from dataclasses import replace
from math import nan

import pytest

from deeploc.core.effects import Effect
from deeploc.core.responses import Preference, Profile, Response
from deeploc.report.outcomes import (
    MAX_OUTCOMES,
    at_one_dose,
    first_outcomes,
    main_effects,
)
from deeploc.report.text import describe_effects, describe_profile, format_number

PERPLEXITY = Effect(
    "perplexity", "perplexity", "sentences", "block", "zero", 5.0, "lower", 17.7, 26.3, (17.8,) * 20
)
COPYING = Effect(
    "continuation", "exact-match", "copying", "block", "zero", 5.0, "higher", 0.98, 0.97,
    (0.96,) * 7 + (0.98,) * 13,
)  # fmt: skip


def test_damage_that_no_control_reaches_comes_first():
    """The sentence names direction, values, controls and p; what is as random follows."""
    text = describe_effects(
        [COPYING, PERPLEXITY], "the top 5 % of block (51 of 1,024 units, mode zero)"
    )

    assert text == (
        "Ablating the top 5 % of block (51 of 1,024 units, mode zero) raised perplexity "
        "(sentences) from 17.7 to 26.3 (none of 20 random controls did as much damage, p = 0.048). "
        "Continuation exact-match (copying) went from 0.980 to 0.970 (7 of 20 random controls "
        "did as much damage, p = 0.38)."
    )


def test_two_effects_beyond_random_share_a_sentence():
    """A metric that should be high is lowered."""
    lowered = replace(COPYING, ablated=0.5)

    assert "; it lowered continuation exact-match (copying) from 0.980 to 0.500 (none of" in (
        describe_effects([PERPLEXITY, lowered], "them")
    )


def test_damage_as_random_is_not_called_more():
    """Without damage beyond random the summary states so in its first words."""
    assert describe_effects([COPYING], "them").startswith(
        "Ablating them did no damage beyond that of matched random units. Continuation"
    )


def test_too_few_controls_are_not_a_verdict():
    """With three controls p cannot fall to 0.05, and the summary does not judge."""
    text = describe_effects([replace(PERPLEXITY, controls=(17.8,) * 3)], "them")

    assert text == (
        "Ablating them did damage that cannot be judged. Perplexity (sentences) went from 17.7 "
        "to 26.3; too few random controls to judge (3 of at least 19)."
    )


def test_an_improvement_is_unharmed():
    """A metric that got better is not reported as damage."""
    assert describe_effects([replace(PERPLEXITY, ablated=17.0)], "them") == (
        "Ablating them harmed no measured outcome. "
        "Perplexity (sentences) was unharmed (17.7 → 17.0)."
    )


def test_an_infinite_value_is_reported():
    """A model that gives a word no probability has infinite perplexity."""
    assert "from 17.7 to ∞" in describe_effects([replace(PERPLEXITY, ablated=float("inf"))], "them")


def test_outcomes_beyond_the_maximum_are_counted():
    """The rest is counted, never dropped; those beyond random come first."""
    many = [replace(COPYING, condition=f"c{i}") for i in range(8)] + [PERPLEXITY]
    text = describe_effects(many, "them")

    assert "raised perplexity" in text
    assert text.count("exact-match") == MAX_OUTCOMES - 1
    assert text.endswith("3 more outcomes are in the table, 0 of them beyond random.")


def test_first_metrics_and_whole_conditions_are_the_main_effects():
    """Second metrics and suites within a measured condition are left to the table."""
    nll = replace(PERPLEXITY, metric="nll")
    suite = replace(COPYING, condition="copying/short")
    alone = replace(COPYING, condition="a/b")
    better = {
        "perplexity": {"perplexity": "lower", "nll": "lower"},
        "continuation": {"exact-match": "higher"},
    }

    assert main_effects([PERPLEXITY, nll, COPYING, suite, alone], better) == [
        PERPLEXITY,
        COPYING,
        alone,
    ]


@pytest.mark.parametrize(("wanted", "dose"), [(1.0, 1.0), (2.0, 5.0), (None, 5.0)])
def test_one_dose_is_reported_by_a_rule_that_ignores_the_outcome(wanted: float | None, dose: float):
    """The dose of the contrast's selection if it was ablated, else the largest."""
    weak = replace(PERPLEXITY, percent=1.0, ablated=17.7)

    assert [e.percent for e in at_one_dose([weak, PERPLEXITY], wanted)] == [dose]


@pytest.mark.parametrize("wanted", [1.0, 2.5, None])
def test_the_own_selection_is_reported_before_any_dose(wanted: float | None):
    """Where it was ablated, it is what the contrast is about."""
    selected = replace(PERPLEXITY, percent=2.5, mask="selected")
    doses = [replace(PERPLEXITY, percent=percent) for percent in (1.0, 2.5, 5.0)]

    assert at_one_dose([*doses, selected], wanted) == [selected]


def test_every_task_is_plotted_before_any_second_condition():
    """Of many conditions of one task the last make room for another task."""
    many = [replace(COPYING, condition=f"c{i}") for i in range(10)]
    outcomes = first_outcomes([*many, PERPLEXITY])

    assert len(outcomes) == MAX_OUTCOMES
    assert outcomes[-1] == ("perplexity", "perplexity", "sentences")


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0123, "\N{MINUS SIGN}0.0123"), (100.0, "100"), (999.4, "999"), (1e9, "1.00e+09"),
     (float("-inf"), "\N{MINUS SIGN}∞"), (float("nan"), "not a number"), (1, "1.00")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str):
    """Three significant digits, thousands separated, infinity as a sign."""
    assert format_number(value) == text


def profile(z: Mapping[str, float], t: float, p: float = 1e-9, held_out: bool = True) -> Profile:
    rows = [Response("block", c, "selected", 9, v, v, v, v, v - 0.1, v + 0.1) for c, v in z.items()]
    tests = [
        Preference("block", "selected", t, 9.5, p, 2.0),
        Preference("block", "random", 0.25, 9.0, 0.8, 0.1),
    ]
    return Profile(held_out, rows, tests)


def test_a_confirmed_preference_is_reported_with_its_test():
    """Most, least, t, p and d of the selected units and of random ones."""
    assert describe_profile(profile({"faces": 2.0, "cars": -1.0}, 12.0), "block", ["faces"]) == (
        "On held-out stimuli the selected block units respond most to faces "
        "(z = 2.00, 95 % CI 1.90 to 2.10) and least to cars (z = \N{MINUS SIGN}1.00). The "
        "contrast holds there: t(9.5) = 12.0, p < 0.001, d = 2.00; as many random units at the "
        "same sites: t = 0.250, d = 0.100."
    )


@pytest.mark.parametrize(("t", "p"), [(1.0, 0.3), (-9.0, 1e-6)])
def test_a_preference_that_is_not_confirmed_is_reported(t: float, p: float):
    """Chance and the other direction are both no confirmation."""
    text = describe_profile(profile({"faces": 0.1, "cars": 0.2}, t, p), "block", ["faces"])

    assert "respond most to cars, which is not on the preferred side, (z" in text
    assert "The contrast does not hold there: t(9.5) =" in text


def test_what_was_not_held_out_confirms_nothing():
    """Without a split the sentence states that it is no confirmation."""
    text = describe_profile(
        profile({"faces": 2.0, "cars": -1.0}, 12.0, held_out=False), "block", []
    )

    assert text.startswith("On the localizing stimuli the ")
    assert "No stimuli were held out, so this is no independent confirmation: t(9.5)" in text
    assert "holds" not in text


def test_what_is_not_finite_is_not_reported_as_a_number():
    """A condition without z is passed over, a test without t named as such."""
    some = describe_profile(profile({"faces": nan, "cars": 0.5}, nan, nan), "block", ["faces"])
    none = describe_profile(profile({"faces": nan}, nan, nan), "block", ["faces"])

    assert "most to cars" in some
    assert some.endswith("The contrast cannot be tested there.")
    assert none == "On held-out stimuli the selected block units have no finite response."


def test_one_stimulus_has_no_interval():
    """Its z is reported, and that nothing can be tested."""
    whole = profile({"faces": 2.0, "cars": -1.0}, nan, nan)
    rows = [replace(row, z_low=nan, z_high=nan) for row in whole.responses]
    text = describe_profile(replace(whole, responses=rows), "block", ["faces"])

    assert "to faces (z = 2.00) and least" in text
