"""The rule of ``trained`` on hand-made evidence, and its words."""

import json
from dataclasses import replace
from math import hypot, nan, sqrt

import numpy as np
import pytest
from jaxtyping import Float64
from scipy import stats

from deeploc.core.judging import verdict
from deeploc.core.resampling import Halves, KindReliability, Permutations
from deeploc.core.responses import Preference
from deeploc.core.untrained import KindUntrained, Untrained
from deeploc.core.verdict import Evidence, Reply, Verdict
from deeploc.report.untrained_text import describe_untrained
from deeploc.report.verdict_text import NOT_ASKED, lines_of

Samples = Float64[np.ndarray, "stimulus unit"]
MINUS = "\N{MINUS SIGN}"
TOP, BOTTOM = Halves(0.9, 0.8, 0.01), Halves(0.1, 0.0, 0.01)


def preferences(first: Samples, second: Samples) -> list[Preference]:
    """Return Welch's test of two samples per column, by SciPy."""
    test = stats.ttest_ind(first, second, equal_var=False)
    n, m = len(first), len(second)
    squares = (n - 1) * first.var(axis=0, ddof=1) + (m - 1) * second.var(axis=0, ddof=1)
    d = (first.mean(axis=0) - second.mean(axis=0)) / np.sqrt(squares / (n + m - 2))
    columns = np.stack([test.statistic, test.df, test.pvalue, d], axis=-1).tolist()
    return [Preference("block", "selected", *values) for values in columns]


def test_interval_of_d_for_equal_variances_is_that_of_the_textbook() -> None:
    """Hedges & Olkin: the variance is (n + m) / nm + d^2 / (2 (n + m)), here with n + m - 2."""
    first = np.linspace(0, 1, 20)[:, None]
    (tested,) = preferences(first + 0.4, first)
    low, high = tested.d_interval
    reach = stats.norm.ppf(0.975) * hypot(sqrt(40 / 400), tested.d / sqrt(2 * 38))

    assert (low, high) == pytest.approx((tested.d - reach, tested.d + reach))
    assert Preference("block", "selected", 0.0, 1.0, 1.0, 0.0).d_interval == (0.0, 0.0)


@pytest.mark.parametrize(("delta", "ratio"), [(0.0, 1.0), (1.5, 1.0), (1.5, 3.0)])
def test_interval_of_d_covers_the_true_one(
    delta: float, ratio: float, rng: np.random.Generator
) -> None:
    """In 95 % of 2,000 samples of 30 + 30, also where one side varies three times as much."""
    true = delta / sqrt((ratio**2 + 1) / 2)
    first, second = rng.normal(delta, ratio, (30, 2000)), rng.normal(0, 1, (30, 2000))
    ends = np.array([tested.d_interval for tested in preferences(first, second)])
    covered = (ends[:, 0] <= true) & (true <= ends[:, 1])

    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_one_sided_p_is_scipys(rng: np.random.Generator) -> None:
    """Whichever side is ahead."""
    first, second = rng.normal(0.5, 1, (12, 1)), rng.normal(0, 2, (9, 1))
    for a, b in ((first, second), (second, first)):
        greater = stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
        assert preferences(a, b)[0].p_one_sided == pytest.approx(float(greater[0]))


def having(t: float, p: float, d: float) -> Preference:
    return Preference("block", "selected", t, 100.0, p, d)


OWN = having(15.0, 1e-20, 3.0)
EVIDENCE = Evidence("block", 1000, 10, 10, 1.0, 77, selected=OWN, random=having(0.1, 0.9, 0.0))
PERMUTED = Permutations(1000, 9.0, 0.001, 4.0, 12)
UNSPLIT = replace(
    EVIDENCE, selected=None, random=None, reliability=KindReliability("block", TOP, None, PERMUTED)
)


def reply(evidence: Evidence, copy: KindUntrained | None, missing: str | None = None) -> Reply:
    known = replace(evidence, untrained=copy, no_untrained=missing)
    *_, last = verdict([known], None, 199).networks[0].replies
    return last


def line(evidence: Evidence, copy: KindUntrained | None, missing: str | None = None) -> str:
    """Return the last line of a network, as it is read from verdict.json."""
    known = replace(evidence, untrained=copy, no_untrained=missing)
    made = verdict([known], None, 199).to_json()
    made = Verdict.from_json(json.loads(json.dumps(made, allow_nan=False)))
    *_, last = lines_of(made.networks[0], made)
    return " ".join(last)


@pytest.mark.parametrize(
    ("untrained", "answer"),
    [
        (having(0.5, 0.6, 0.1), "yes"),
        (having(-9.0, 1e-9, -1.8), "yes"),  # it prefers the other side
        (having(5.0, 1e-6, 1.0), "partly"),
        (having(14.0, 1e-19, 2.8), "no"),
        (having(16.0, 1e-22, 3.2), "no"),
        (having(1.5, 0.15, 2.4), "no"),  # few stimuli: 3.0 is within [-0.8, 5.6]
        (having(nan, nan, nan), "not asked"),
        (None, "not asked"),
    ],
)
def test_preference_beside_that_of_an_untrained_copy(
    untrained: Preference | None, answer: str
) -> None:
    """Beyond what the copy may have: yes, or partly where the copy prefers that side as well."""
    assert reply(EVIDENCE, KindUntrained("block", 10, untrained, BOTTOM)).answer == answer


@pytest.mark.parametrize(
    ("halves", "answer"),
    [
        (BOTTOM, "yes"),
        (Halves(0.2, 0.1, 0.01), "yes"),  # one of ten in common: p = 0.096 by chance
        (Halves(0.3, 0.2, 0.01), "partly"),
        (TOP, "no"),
        (Halves(nan, nan, 0.0), "not asked"),
        (None, "not asked"),
    ],
)
def test_without_fresh_stimuli_halves_are_compared(halves: Halves | None, answer: str) -> None:
    """More of the units in common than in the copy: partly, where the copy has more than chance."""
    assert reply(UNSPLIT, KindUntrained("block", 10, None, halves)).answer == answer


@pytest.mark.parametrize("evidence", [EVIDENCE, UNSPLIT])
def test_a_copy_in_which_nothing_is_selected_has_no_such_units(evidence: Evidence) -> None:
    """A rule such as fdr may select none."""
    nothing = KindUntrained("block", 0, having(nan, nan, nan), Halves(0.1, nan, nan))

    assert reply(evidence, nothing).answer == "yes"
    assert line(evidence, nothing) == "trained yes untrained copy: no unit is selected"


@pytest.mark.parametrize("evidence", [EVIDENCE, UNSPLIT])
def test_it_claims_no_error_rate(evidence: Evidence) -> None:
    """A description has neither p nor level."""
    made = reply(evidence, KindUntrained("block", 10, having(0.5, 0.6, 0.1), BOTTOM))

    assert (made.question, made.answer, made.p, made.level) == ("trained", "yes", None, None)


def test_it_is_asked_only_where_the_preference_is_confirmed() -> None:
    """Units that prefer nothing need no training."""
    weak = replace(EVIDENCE, selected=having(1.0, 0.3, 0.2))
    copy = KindUntrained("block", 10, having(0.5, 0.6, 0.1), BOTTOM)

    assert reply(weak, copy).answer == "not asked"
    assert line(weak, copy) == f"trained {NOT_ASKED} asked only where the preference is confirmed"


def test_words() -> None:
    """d and the share of the halves, the interval where it is the reason; or why there is none."""
    copy = KindUntrained("block", 10, having(5.0, 1e-6, 1.0), Halves(0.3, 0.2, 0.01))
    few = replace(copy, preference=having(1.5, 0.15, 2.4))
    untested = replace(copy, preference=having(nan, nan, nan), halves=None)

    assert line(EVIDENCE, copy) == (
        "trained partly untrained copy: held-out d = 1.00, split-half overlap 20 %"
    )
    d = f"held-out d = 2.40 [{MINUS}0.754, 5.55]"
    assert line(EVIDENCE, few) == f"trained no untrained copy: {d}, split-half overlap 20 %"
    assert line(UNSPLIT, replace(copy, preference=None)) == (
        "trained partly untrained copy: split-half overlap 20 %"
    )
    assert line(UNSPLIT, replace(copy, preference=None, halves=None)) == (
        f"trained {NOT_ASKED} untrained copy: its halves could not be localized apart"
    )
    assert line(EVIDENCE, untested) == (
        f"trained {NOT_ASKED} untrained copy: its preference cannot be tested"
    )
    assert line(EVIDENCE, None, "it has no weights") == f"trained {NOT_ASKED} it has no weights"
    assert line(EVIDENCE, None) == f"trained {NOT_ASKED} no untrained copy was localized; run again"


def test_words_of_localize() -> None:
    """d with its interval and p, the share of the halves beside chance."""
    kinds = (
        KindUntrained("block", 10, having(5.0, 1e-6, 1.0), Halves(0.3, 0.2, 0.01)),
        KindUntrained("conv", 10, having(nan, nan, nan)),
        KindUntrained("mlp-neurons", 0),
    )

    assert describe_untrained(Untrained(kinds)) == [
        "block: untrained copy: held-out d = 1.00 [0.584, 1.42], p < 0.001; "
        "halves share 20 % of its units (chance 1 %)",
        "conv: untrained copy: its preference cannot be tested; "
        "its halves could not be localized apart",
        "mlp-neurons: untrained copy: no unit is selected",
    ]


def test_round_trip() -> None:
    """What the manifest records reads back as what was written; null is nan."""
    kinds = [
        KindUntrained("block", 10, having(nan, nan, nan), BOTTOM),
        KindUntrained("mlp-neurons", 0),
    ]
    made = Untrained(tuple(kinds))
    again = Untrained.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))

    assert repr(again) == repr(made)
    assert again.of("block") is not None
    assert again.of("attention") is None
    assert Untrained.from_json(Untrained(missing="why").to_json()).missing == "why"
