"""Effects in words."""

from dataclasses import replace

import pytest

from deeploc.results import Effect
from deeploc.summary import MAX_TOLD, at_one_dose, main_effects, number, shown_rows, summarize

PERPLEXITY = Effect(
    "perplexity", "perplexity", "sentences", "block", "zero", 5.0, "lower", 17.7, 26.3, (17.8,) * 20
)
COPYING = Effect(
    "continuation", "exact-match", "copying", "block", "zero", 5.0, "higher", 0.98, 0.97,
    (0.96,) * 7 + (0.98,) * 13,
)  # fmt: skip


def test_damage_that_no_control_reaches_is_told_first():
    """The sentence names direction, values, controls and p; what is as random follows."""
    text = summarize([COPYING, PERPLEXITY], "the top 5 % of block (51 of 1,024 units, mode zero)")

    assert text == (
        "Ablating the top 5 % of block (51 of 1,024 units, mode zero) raised perplexity "
        "(sentences) from 17.7 to 26.3 (none of 20 random controls did as much, p = 0.048). "
        "Continuation exact-match (copying) went from 0.980 to 0.970 (7 of 20 random controls "
        "did as much, p = 0.38)."
    )


def test_two_specific_damages_stand_in_one_sentence():
    """A metric that should be high is lowered."""
    lowered = replace(COPYING, ablated=0.5)

    assert "; it lowered continuation exact-match (copying) from 0.980 to 0.500 (none of" in (
        summarize([PERPLEXITY, lowered], "them")
    )


def test_damage_as_random_is_not_called_specific():
    """Without specific damage the summary says so in its first words."""
    assert summarize([COPYING], "them").startswith(
        "Ablating them did no damage beyond that of matched random units. Continuation"
    )


def test_too_few_controls_are_not_a_verdict():
    """With three controls p cannot fall to 0.05, and the summary does not judge."""
    text = summarize([replace(PERPLEXITY, controls=(17.8,) * 3)], "them")

    assert text == (
        "Ablating them did damage that cannot be judged. Perplexity (sentences) went from 17.7 "
        "to 26.3; 3 random controls are too few to judge."
    )


def test_an_improvement_is_no_harm():
    """A metric that got better did not suffer."""
    assert summarize([replace(PERPLEXITY, ablated=17.0)], "them") == (
        "Ablating them harmed nothing that was measured. "
        "Perplexity (sentences) did not suffer (17.7 → 17.0)."
    )


def test_an_infinite_value_is_told():
    """A model that gives a word no probability has infinite perplexity."""
    assert "from 17.7 to ∞" in summarize([replace(PERPLEXITY, ablated=float("inf"))], "them")


def test_outcomes_beyond_the_most_told_are_counted():
    """The rest is counted, never dropped; specific ones are told first."""
    many = [replace(COPYING, condition=f"c{i}") for i in range(8)] + [PERPLEXITY]
    text = summarize(many, "them")

    assert "raised perplexity" in text
    assert text.count("exact-match") == MAX_TOLD - 1
    assert text.endswith("3 more outcomes are in the table, 0 of them specific.")


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
def test_one_dose_is_told_by_a_rule_that_ignores_the_outcome(wanted: float | None, dose: float):
    """The dose of the contrast's selection if it was ablated, else the largest."""
    weak = replace(PERPLEXITY, percent=1.0, ablated=17.7)

    assert [e.percent for e in at_one_dose([weak, PERPLEXITY], wanted)] == [dose]


def test_every_task_is_drawn_before_any_second_condition():
    """Of many conditions of one task the last make room for another task."""
    many = [replace(COPYING, condition=f"c{i}") for i in range(10)]
    rows = shown_rows([*many, PERPLEXITY])

    assert len(rows) == MAX_TOLD
    assert rows[-1] == ("perplexity", "perplexity", "sentences")


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0123, "\N{MINUS SIGN}0.0123"), (100.0, "100"), (999.4, "999"), (1e9, "1.00e+09"),
     (float("-inf"), "\N{MINUS SIGN}∞"), (float("nan"), "not a number"), (1, "1.00")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str):
    """Three significant digits, thousands separated, infinity as a sign."""
    assert number(value) == text
