"""The double dissociation: the rule on numbers made by hand, the matrix of planted networks."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from deeploc.analysis.lesions import LesionMatrix, Side
from deeploc.analysis.measure_lesions import lesion_matrix
from deeploc.analysis.planning import deciding_doses
from deeploc.core.adapter import TextRequest, TextScore
from deeploc.core.damage import Damage
from deeploc.core.dissociation import Dissociation, dissociation, double_dissociations
from deeploc.core.multiplicity import empirical_p
from deeploc.core.results import Score
from deeploc.core.units import Selection, StatMap, UnitMask
from deeploc.report.dissociation import Dissociated, answer_of, lines_of
from deeploc.testing import Planted, planted
from deeploc.testing.planted_network import PlantedAdapter

from .conftest import stat_map_of


def damage(
    observed: float, controls: Sequence[float], metric: str = "accuracy", intact: float = 1.0
) -> Damage:
    """Return damage of 1,000 items by a mask and its random sets, as values of the metric."""
    named = {f"random-{i}": value for i, value in enumerate(controls)}
    better = "lower" if metric == "perplexity" else "higher"
    return Damage(intact, observed, named, better, metric, 1000)


def single(p_own: float, p_difference: float, n: int = 39, difference: float = 3.0) -> Dissociation:
    return Dissociation(difference, 0.0, difference, p_own, p_difference, n)


def test_a_dissociation_is_the_difference_of_two_damages() -> None:
    """Own damage 0.6 beside 0.1 and 0.3, other 0.3 beside 0.2 and 0.4: (0.6 - 0.2) / sqrt(0.02).

    Both random sets have a difference of 0, none does as much damage: p = 1/3.
    """
    made = dissociation(damage(0.4, [0.9, 0.7]), damage(0.7, [0.8, 0.6]))

    assert made is not None
    assert (made.own, made.difference) == pytest.approx((0.4 / sqrt(0.02),) * 2)
    assert made.other == pytest.approx(0.0)
    assert (made.p_own, made.p_difference, made.p, made.n) == (1 / 3, 1 / 3, 1 / 3, 2)


def test_what_only_spares_the_other_outcome_is_no_dissociation() -> None:
    """A difference beyond all random sets, without damage to the own outcome or with too little."""
    spared = damage(1.0, [0.50, 0.52, 0.54])
    none = dissociation(damage(1.0, [0.90, 0.92, 0.91]), spared)
    little = dissociation(damage(0.91, [0.90, 0.92, 0.91]), spared)

    assert none is not None
    assert little is not None
    assert (none.p_difference, none.p_own, none.p) == (0.25, 1.0, 1.0)
    assert (little.p_difference, little.p_own, little.p) == (0.25, 0.75, 0.75)


def test_random_sets_that_tie_count_as_much() -> None:
    """A set whose damage and difference are those of the mask itself: p = 2/3 of both."""
    own, other = damage(0.4, [0.9, 0.4]), damage(0.8, [0.8, 0.8])
    made = dissociation(own, other)

    assert made is not None
    assert (made.p_own, made.p_difference) == (2 / 3, 2 / 3)


def test_damage_without_limit_is_compared() -> None:
    """An infinite perplexity is beyond finite ones; where both are infinite nothing differs."""
    finite, nan = [10.0, 11.0, 12.0], float("nan")
    other = damage(11.0, finite, "perplexity", intact=10.0)
    broken = damage(inf, finite, "perplexity", intact=10.0)
    alone, both = dissociation(broken, other), dissociation(broken, broken)
    lost = dissociation(damage(nan, finite, "perplexity", intact=10.0), other)

    assert alone is not None
    assert both is not None
    assert lost is not None
    assert (alone.difference, alone.p) == (inf, 0.25)
    assert (both.difference, both.p_difference) == (0.0, 1.0)
    assert (lost.difference, lost.p) == (inf, 0.25)


def test_one_random_set_tests_nothing() -> None:
    """A standard deviation needs two."""
    assert dissociation(damage(0.4, [0.9]), damage(0.8, [0.8])) is None


def test_both_have_to_dissociate() -> None:
    """The smaller difference and the larger p count, adjusted over the kinds of site (Holm)."""
    made = double_dissociations(
        {
            "block": (single(0.025, 0.025, difference=9.0), single(0.025, 0.025, difference=2.0)),
            "mlp-neurons": (single(0.025, 0.025), single(0.025, 0.4)),
        }
    )
    block, neurons = made["block"], made["mlp-neurons"]

    assert (block.difference, block.p, block.adjusted, block.answer) == (2.0, 0.025, 0.05, "yes")
    assert (neurons.p, neurons.adjusted, neurons.answer) == (0.4, 0.4, "no")


def test_too_few_sets_answer_nothing() -> None:
    """19 sets suffice for one kind of site, 39 for two; one kind untested does not count."""
    few, untested = (single(0.05, 0.05, n=19),) * 2, (None, single(0.05, 0.05, n=19))
    alone = double_dissociations({"block": few, "mlp-neurons": untested})
    both = double_dissociations({"block": few, "mlp-neurons": few})

    assert [made.answer for made in alone.values()] == ["yes", "not asked"]
    assert [made.answer for made in both.values()] == ["not asked", "not asked"]


def test_a_single_dissociation_is_not_called_double(rng: np.random.Generator) -> None:
    """Where only A dissociates, a false yes is as rare as stated: 19 sets, 80 networks.

    The p of the smaller difference against that of pairs of random sets would not do it: 0.21.
    """
    n, most = 80, binom.ppf(0.999, 80, 0.05)
    called = by_pairs = 0
    for _ in range(n):
        values = rng.normal(0.6, 0.05, size=(2, 2, 20))  # mask, outcome, the mask and its sets
        values[0, 0, 0] = 0.0
        first, second = ([damage(v[0], v[1:]) for v in mask] for mask in values)
        a, b = dissociation(first[0], first[1]), dissociation(second[1], second[0])
        called += double_dissociations({"block": (a, b)})["block"].answer == "yes"
        z = (values.mean(axis=2, keepdims=True) - values) / 0.05
        smaller = np.minimum(z[0, 0] - z[0, 1], z[1, 1] - z[1, 0])
        by_pairs += empirical_p(smaller[0], smaller[1:].tolist()) <= 0.05

    assert called <= most
    assert by_pairs > most


class Counting(PlantedAdapter):
    """A planted network that counts how often texts are scored."""

    n_scored = 0

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        self.n_scored += 1
        return super().score(requests)


@pytest.fixture(scope="module")
def network() -> Planted:
    return planted(seed=3, n_units=400, n_stimuli=60)


def side_of(network: Planted, outcome: str, units: Selection) -> Side:
    """Return the side whose primary outcome and whose units are given."""
    layout = network.adapter.sites
    stat_map: StatMap = stat_map_of(np.zeros(layout.n_units), layout)
    contrast = network.contrast.with_changes([f"verdict.primary=perplexity/perplexity/{outcome}"])
    doses = deciding_doses(stat_map, UnitMask(layout, units), contrast.ablate, None, seed=0)
    keys = {"perplexity": "the same items"}
    return Side(outcome, contrast, network.tasks, keys, {d.cell.sites: d for d in doses})


def matrix_of(
    network: Planted,
    first: Selection,
    second: Selection,
    known: Sequence[Score] = (),
    n_controls: int = 19,
) -> tuple[LesionMatrix, int, list[Score]]:
    """Return the matrix, how often texts were scored for it, and every score."""
    adapter, scores = Counting(network.adapter.network), []
    sides = side_of(network, "target", first), side_of(network, "other", second)

    def keep(_: Side | None, new: list[Score]) -> None:
        scores.extend(new)

    made = lesion_matrix(adapter, sides, n_controls, known=known, on_scores=keep)
    return made, adapter.n_scored, scores


@pytest.fixture(scope="module")
def matrix(network: Planted) -> LesionMatrix:
    """Return that of two masks, each of which one outcome rests on."""
    kinds = network.kinds
    return matrix_of(network, kinds["selective_causal"], kinds["causal_only"])[0]


@pytest.mark.parametrize("which", ["own", "other"])
def test_without_a_finite_value_of_the_intact_model_nothing_is_tested(which: str) -> None:
    """Neither mask dissociates then, nor does it not."""
    controls = {f"random-{i}": 0.8 + 0.01 * i for i in range(9)}
    finite = Damage(0.9, 0.1, controls, "higher", "accuracy", 50)
    without = replace(finite, intact=nan)
    both = {"own": (without, finite), "other": (finite, without)}[which]

    assert dissociation(finite, finite) is not None
    assert dissociation(*both) is None


def test_units_that_each_harm_their_own_outcome_dissociate_doubly(matrix: LesionMatrix) -> None:
    """Planted: the outcome target rests on some units, other on others."""
    double = matrix.dissociations()["block"]

    assert [column.outcome[2] for column in matrix.columns] == ["target", "other"]
    assert matrix.shared == {"block": 0}
    assert (double.answer, double.p) == ("yes", 0.05)
    assert double.difference > 2


def test_units_that_harm_both_outcomes_do_not(network: Planted) -> None:
    """The second mask is the union of both: only the first dissociates."""
    kinds = network.kinds
    union = kinds["selective_causal"] | kinds["causal_only"]
    matrix, _, _ = matrix_of(network, kinds["selective_causal"], union)
    double = matrix.dissociations()["block"]

    assert matrix.shared == {"block": int(kinds["selective_causal"].sum())}
    assert double.answer == "no"
    assert double.first is not None
    assert double.second is not None
    assert double.first.p == 0.05
    assert double.second.p_own == 0.05
    assert double.second.p_difference > 0.05


def test_a_change_is_the_difference_of_values_within_its_interval(matrix: LesionMatrix) -> None:
    """Damage that is far beyond its items' spread has an interval that excludes 0."""
    ablated, _ = matrix.rows["block"]
    target, _ = matrix.columns
    change, harmed = ablated.changes[target], ablated.damages[target]

    assert change.value == pytest.approx(harmed.ablated - harmed.intact)
    assert 0 < change.low < change.value < change.high


def test_the_answer_is_told_in_words(matrix: LesionMatrix) -> None:
    """A yes with its size and p, then both single dissociations."""
    double = matrix.dissociations()
    runs = Path("a"), Path("b")
    made = Dissociated(("target", "other"), runs, "planted", matrix, double)
    first, second = lines_of("block", made)

    assert answer_of("block", made) == (
        "block: a double dissociation: each harms its own outcome more than the other's; the "
        f"smaller difference is {double['block'].difference:.1f} SD of controls, p = 0.05"
    )
    assert first.startswith("target units dissociate: perplexity (target) z = ")
    assert second.startswith("other units dissociate: perplexity (other) z = ")
    assert second.endswith(" SD, p = 0.05")


def test_known_scores_are_not_measured_again(network: Planted) -> None:
    """Tasks of equal keys are measured once; with all scores known, only what needs its items."""
    kinds = network.kinds
    masks = kinds["selective_causal"], kinds["causal_only"]
    first, n_first, scores = matrix_of(network, *masks)
    again, n_again, _ = matrix_of(network, *masks, known=scores)
    more, n_more, _ = matrix_of(network, *masks, known=scores, n_controls=20)

    assert (n_first, n_again, n_more) == (3 + 2 * 19, 3, 3 + 2)
    assert again == first
    assert len(next(iter(more.rows["block"][0].damages.values())).controls) == 20


def test_one_primary_outcome_leaves_nothing_to_test(network: Planted) -> None:
    """Two contrasts that want to harm the same outcome cannot dissociate."""
    sides = tuple(
        side_of(network, "target", network.kinds[kind]) for kind in ("selective_causal", "massive")
    )
    matrix = lesion_matrix(network.adapter, (sides[0], sides[1]), 2)
    double = matrix.dissociations()
    made = Dissociated(("a", "b"), (Path("a"), Path("b")), "planted", matrix, double)

    assert double["block"].answer == "not asked"
    assert "both contrasts have the same primary outcome" in answer_of("block", made)
    assert lines_of("block", made) == []
