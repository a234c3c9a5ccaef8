"""Massive activations: which units are massive, and what they have to do with the damage."""

import sys
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path

import numpy as np
import pytest

import deeploc
from deeploc.analysis.deciding import deciding_of, draw_controls, massive_units
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.massive import evenly_spaced, massive_activations
from deeploc.analysis.planning import DecidingDose, deciding_doses
from deeploc.core.ablation import Ablation
from deeploc.core.damage import Damage, damage_at
from deeploc.core.judging import verdict
from deeploc.core.magnitudes import Magnitudes
from deeploc.core.massive import Dimension, LargeUnit, MassiveActivations
from deeploc.core.outcomes import Deciding
from deeploc.core.readout import Readout
from deeploc.core.responses import Preference
from deeploc.core.results import Cell, Score
from deeploc.core.units import Layout, Selection, Site, UnitMask
from deeploc.core.verdict import Evidence, MassiveUnits, Network
from deeploc.errors import MaskError
from deeploc.report.massive_text import describe_massive
from deeploc.report.verdict_text import conclusion, lines_of, title_of
from deeploc.runs.massive import warnings_of
from deeploc.stimuli import Stimulus
from deeploc.testing import Planted, ToyAdapter, planted

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from calibration import verdict_on

BLOCKS = Layout(tuple(Site(f"layers.{i}", "block", 8) for i in range(4)))
DECIDING = Deciding(("perplexity", "perplexity", "sentences"), ())
PLANTED = ("perplexity", "perplexity", "target")


def activations(**sizes: Mapping[int, float]) -> dict[str, np.ndarray]:
    """Return activations of median 1 at three positions of every block, some units larger."""
    shown = {site.name: np.tile([1.0, -1.0], (3, 4)) for site in BLOCKS.sites}
    for name, units in sizes.items():
        for unit, value in units.items():
            shown[name.replace("_", ".")][0, unit] = value
    return shown


def of(*stimuli: dict[str, np.ndarray], layout: Layout = BLOCKS) -> MassiveActivations:
    magnitudes = Magnitudes(layout)
    for positions in stimuli:
        magnitudes.add(positions)
    return magnitudes.massive()


def test_massive_is_beyond_both_bounds() -> None:
    """More than 100, and more than 1,000 medians; the sign and the other positions do not count."""
    sizes = {0: -1001.0, 1: 1000.0, 2: 101.0, 3: 21.0}
    first, second, *_ = of(activations(layers_0=sizes)).sites

    assert (first.massive, first.above, first.median) == ((0,), (4, 3, 1), 1.0)
    assert first.largest[0] == LargeUnit(0, 1001.0, 1001.0)
    assert (second.massive, second.above) == ((), (0, 0, 0))


def test_large_ratio_of_small_activations_is_not_massive() -> None:
    """A unit of 99 is not massive, however small the others are."""
    small = {name: x * 1e-4 for name, x in activations().items()}
    small["layers.0"][0, 0] = 99.0
    small["layers.1"][0, 0] = 101.0

    assert [site.massive for site in of(small).sites] == [(), (0,), (), ()]


def test_median_is_of_the_same_stimulus() -> None:
    """A stimulus with larger activations everywhere has none that is massive."""
    louder = {name: 2000 * x for name, x in activations().items()}

    assert not of(activations(), louder).units(BLOCKS).any()


def test_zeros_do_not_count_in_the_median() -> None:
    """After a ReLU most activations are 0; one that is alone is not massive for that."""
    shown = activations()
    shown["layers.0"][:] = 0.0
    shown["layers.0"][0, 5] = 500.0
    shown["layers.1"][:] = 0.0
    magnitudes = of(shown).sites

    assert magnitudes[0].massive == magnitudes[1].massive == ()
    assert (magnitudes[0].median, magnitudes[1].median) == (500.0, 0.0)


def test_infinite_activations_are_massive() -> None:
    """What overflows is larger than anything; it survives JSON."""
    massive = of(activations(layers_0={3: inf}, layers_1={4: np.nan}))

    assert [site.massive for site in massive.sites[:2]] == [(3,), (4,)]
    assert MassiveActivations.from_json(massive.to_json()) == massive


def test_dimension_of_several_blocks_counts_from_20_medians() -> None:
    """A dimension that is massive in two blocks counts in others, one of a single block not."""
    massive = of(
        activations(
            layers_0={2: 21.0, 5: 500.0},
            layers_1={2: 5000.0, 5: 5000.0},
            layers_2={2: 5000.0},
            layers_3={2: 19.0},
        )
    )

    assert [site.stretch for site in massive.sites] == [(2,), (), (), ()]
    assert massive.dimensions == [Dimension(2, ("layers.1", "layers.2"), ("layers.0",))]
    assert np.flatnonzero(massive.units(BLOCKS)).tolist() == [2, 8 + 2, 8 + 5, 16 + 2]


def test_neurons_of_two_layers_are_not_one_dimension() -> None:
    """The number of a neuron means nothing in another layer."""
    layout = Layout(tuple(Site(f"layers.{i}", "mlp-neurons", 8, "input") for i in range(3)))
    shown = activations(layers_0={2: 5000.0}, layers_1={2: 5000.0}, layers_2={2: 50.0})
    renamed = {f"{name}:input": x for name, x in shown.items()}
    massive = of(renamed, layout=layout)

    assert [site.stretch for site in massive.sites] == [(), (), ()]
    assert massive.dimensions == []


def test_every_position_is_a_unit_under_pool_none() -> None:
    """Unit ``position * width + unit`` is massive, and no other position of it."""
    layout = Layout((Site("conv", "block", 8, n_positions=3),)).per_position()
    shown = np.ones((3, 8))
    shown[1, 2] = 5000.0

    assert of({"conv": shown}, layout=layout).sites[0].massive == (8 + 2,)


def test_another_model_is_refused() -> None:
    """Massive units of a wider site cannot be those of a narrower one."""
    narrow = Layout((Site("layers.0", "block", 4),))

    with pytest.raises(MaskError, match="has 4 units, but massive ones were found up to number 7"):
        of(activations(layers_0={7: 5000.0})).units(narrow)


def test_medians_of_many_values_are_of_evenly_spaced_positions() -> None:
    """The median of 300,000 activations is within 2 % of that of every fourth or fifth position."""
    layout = Layout((Site("conv", "block", 30),))
    x = np.random.default_rng(0).standard_normal((10_000, 30))
    site = of({"conv": x}, layout=layout).sites[0]

    assert abs(site.median / np.median(np.abs(x)) - 1) < 0.02


@pytest.mark.parametrize(("n", "expected"), [(1, [0]), (3, [0, 1, 2]), (47, range(0, 47, 2))])
def test_stimuli_are_evenly_spaced(n: int, expected: Sequence[int]) -> None:
    """All of a few, else 24 from the first to the last."""
    stimuli = [Stimulus(str(i), "a") for i in range(n)]

    assert [int(s.id) for s in evenly_spaced(stimuli)] == list(expected)


def test_planted_massive_units_are_found() -> None:
    """Exactly the units that are planted as massive, in networks of three seeds."""
    for seed in range(3):
        network = planted(seed)
        assert massive_of(network).tolist() == network.kinds["massive"].tolist()


def massive_of(network: Planted) -> Selection:
    stimuli = [stimulus for group in network.halves[0].values() for stimulus in group]
    layout = network.adapter.sites
    return massive_activations(network.adapter, stimuli, layout, Readout()).units(layout)


def test_adapter_that_cannot_show_positions() -> None:
    """The reason is recorded; nothing is called massive."""

    class Pooled:
        def __init__(self) -> None:
            toy = ToyAdapter()
            self.identity, self.sites = toy.identity, toy.sites
            self.activations, self.ablated = toy.activations, toy.ablated

    massive = massive_activations(Pooled(), [], ToyAdapter.sites, Readout())

    assert massive.missing == "the adapter of this model cannot show single positions"


def deciding_dose(network: Planted, chosen: Selection) -> DecidingDose:
    stat_map = deeploc.localize(network.adapter, network.contrast, network.halves[0])
    mask = UnitMask(stat_map.layout, chosen)
    ablate = network.contrast.ablate
    (dose,) = deciding_doses(stat_map, mask, ablate, None, 0, massive=massive_of(network))
    return dose


def scores_of(network: Planted, dose: DecidingDose, most: int) -> list[Score]:
    """Return the scores that decide, drawn as a run draws them."""
    better = {task.name: task.metrics for task in network.tasks}
    evaluator = Evaluator(network.adapter, network.tasks)
    scores = evaluator.scores(Cell(), None)
    deciding = deciding_of(network.contrast, scores, better)
    assert deciding is not None

    def keep(new: list[Score], _: Ablation) -> None:
        scores.extend(new)

    draw_controls(
        evaluator, dose, deciding, better, most=most, on_scores=lambda new, _: scores.extend(new)
    )
    return scores


def test_mask_of_massive_units_leaves_nothing() -> None:
    """Without its massive units nothing of such a mask is left to ablate."""
    network = planted(massive_required=True)
    dose = deciding_dose(network, network.kinds["massive"])

    assert dose.n_massive(dose.cell) == dose.n_units == 2
    assert dose.without_massive is None


def test_mask_is_ablated_without_its_massive_units() -> None:
    """The cell exists where some units are massive and some not, and is measured."""
    network = planted(massive_required=True)
    chosen = network.kinds["massive"] | network.kinds["selective_causal"]
    dose = deciding_dose(network, chosen)
    assert dose.without_massive is not None
    ablated = dose.ablation(dose.without_massive).mask.selected

    assert ablated.tolist() == network.kinds["selective_causal"].tolist()
    assert dose.n_massive(dose.without_massive) == 0
    assert dose.without_massive.mask in {row.mask for row in scores_of(network, dose, 3)}
    assert deciding_dose(network, network.kinds["neither"]).without_massive is None


def outcome_of(row: Score) -> tuple[str, str, str]:
    return row.task, row.metric, row.condition


def damage(ablated: float, controls: Sequence[float]) -> Damage:
    named = {f"random-{i}": value for i, value in enumerate(controls)}
    return Damage(10.0, ablated, named, "lower", "perplexity", 100)


def network_of(massive: MassiveUnits, primary: Damage, controls: int = 199) -> Network:
    preference = Preference("block", "selected", 9.0, 100.0, 1e-9, 2.0)
    evidence = Evidence("block", 1000, 10, 10, 1.0, 9, selected=preference, random=preference)
    evidence = Evidence(**{**vars(evidence), "primary": primary, "massive": massive})
    return verdict([evidence], DECIDING, controls).networks[0]


def robust_text(network: Network) -> str:
    made = verdict([], DECIDING, 199)
    return dict((question, text) for question, _, text in lines_of(network, made))["robust"]


def test_what_remains_is_compared_with_sets_that_hold_no_massive_unit() -> None:
    """Sets that hold one are named and left out; the damage is that of the other units."""
    network = planted(massive=200, massive_required=True)
    chosen = network.kinds["massive"].copy()
    chosen[np.flatnonzero(chosen)[2:]] = False
    dose = deciding_dose(network, chosen | network.kinds["selective_causal"])
    scores = scores_of(network, dose, 12)
    place = (dose.cell.sites, dose.cell.mode, dose.cell.percent, dose.cell.mask)
    primary = damage_at(scores, place, PLANTED, "lower")
    assert primary is not None
    found = massive_units(scores, dose, PLANTED, primary)
    masks = {name: dose.ablation(dose.named(name)).mask.selected for name in primary.controls}
    holding = {name for name, chosen in masks.items() if (chosen & massive_of(network)).any()}
    rows = {row.mask: row.value for row in scores if outcome_of(row) == PLANTED}

    assert found.n == 2
    assert found.controls == holding
    assert 0 < len(holding) < len(masks)
    assert found.without is not None
    assert found.without.ablated == rows["without-massive"] != primary.ablated
    assert set(found.without.controls) == masks.keys() - holding


def test_drawing_goes_on_until_sets_without_massive_units_decide() -> None:
    """Where five sets that hold massive units end the test of all, others are still drawn."""
    network = planted(massive=200, massive_required=True, selective_causal=20, selective_only=0)
    dose = deciding_dose(network, network.kinds["selective_causal"])
    rows = [row for row in scores_of(network, dose, 60) if outcome_of(row) == PLANTED]
    names = [row.mask for row in rows if row.mask_kind == "random"]
    holding = [bool(dose.n_massive(dose.named(name))) for name in names]

    assert sum(holding[:40]) > 5
    assert len(names) == 60


def test_causal_is_no_longer_so_without_massive_units() -> None:
    """All damage is that of two massive units: the answer does not hold, and is said not to."""
    primary = damage(1e6, [11.0 + 0.001 * i for i in range(199)])
    without = damage(11.05, [11.0 + 0.001 * i for i in range(199)])
    network = network_of(MassiveUnits(2, frozenset(), without), primary)

    assert (network.answer("causal"), network.answer("robust")) == ("yes", "no")
    assert robust_text(network).startswith(
        "2 of 10 units are massive; without them perplexity (sentences) 10.0 → 11.1, 5 of "
    )
    assert conclusion(network) == (
        "No network beyond massive activations: without them damage is not beyond random."
    )
    assert title_of(network, "language", "hf:x").endswith("= 10 of 1,000 units, 2 massive")


def test_damage_that_remains_without_massive_units_is_robust() -> None:
    """The other eight units do more than all sets that hold none."""
    controls = [11.0 + 0.001 * i for i in range(199)]
    network = network_of(MassiveUnits(2, frozenset(), damage(15.0, controls)), damage(20, controls))

    assert (network.answer("causal"), network.answer("robust")) == ("yes", "yes")
    assert "none of 199 random sets without any does as much, p = 0.005" in robust_text(network)
    assert conclusion(network) == "A causal network; whether it is specific was not tested."


def test_mask_of_massive_units_is_called_out() -> None:
    """Where every ablated unit is massive there is no network to speak of."""
    network = network_of(MassiveUnits(10), damage(1e6, [11.0] * 199))

    assert network.answer("robust") == "no"
    assert robust_text(network) == "every one of these units is massive"
    assert conclusion(network).startswith("No network beyond massive activations")


def test_random_sets_that_hold_massive_units_are_named() -> None:
    """Five sets end the test because they hold massive units; the other 40 do less."""
    controls = [1e9] * 5 + [11.0] * 40
    holding = frozenset(f"random-{i}" for i in range(5))
    without = damage(20.0, controls[5:])
    network = network_of(MassiveUnits(0, holding, without), damage(20.0, controls))
    causal = network.reply("causal")
    assert causal is not None

    assert (causal.answer, causal.numbers["as_damaging_massive"]) == ("no", 5)
    assert network.answer("robust") == "no"
    assert robust_text(network) == "none of 40 random sets without any does as much, p = 0.024"
    assert conclusion(network) == (
        "No causal network by the rule: random units do as much if massive ones are among them."
    )


def test_massive_units_that_play_no_part_are_not_mentioned() -> None:
    """Neither the mask nor a set that did as much holds one: nothing is asked."""
    controls = [1e9] * 5 + [11.0] * 40
    network = network_of(MassiveUnits(0, frozenset({"random-9"})), damage(20.0, controls))

    assert (network.answer("causal"), network.answer("robust")) == ("no", "not asked")
    assert "massive" not in title_of(network, "language", "hf:x")


def test_massive_activations_in_words() -> None:
    """Dimensions of several blocks, single units, and how many selected units are massive."""
    massive = of(
        activations(layers_0={2: 21.0, 5: 5000.0}, layers_1={2: 5000.0}, layers_3={2: 5000.0})
    )
    chosen = np.zeros(BLOCKS.n_units, dtype=bool)
    chosen[[2, 3, 8 + 2]] = True

    assert describe_massive(massive, UnitMask(BLOCKS, chosen)) == [
        "massive activations in block: dimension 2 massive in 2 of 4 sites (layers.1 … layers.3), "
        "above 20 medians in 1 more; layers.0[5]; 2 of 3 selected units"
    ]
    assert describe_massive(of(activations()), UnitMask(BLOCKS, chosen)) == [
        "no massive activations (over 1,000 medians of the site and over 100) on 1 stimuli"
    ]
    assert describe_massive(MassiveActivations(missing="why"), UnitMask(BLOCKS, chosen)) == [
        "massive activations: not known (why)"
    ]


def test_warning_counts_the_selected_units_that_are_massive() -> None:
    """One line per kind of site, none where no selected unit is massive."""
    massive = of(activations(layers_0={2: 5000.0}))
    chosen = np.zeros(BLOCKS.n_units, dtype=bool)
    chosen[[2, 3]] = True
    others = UnitMask(BLOCKS, ~massive.units(BLOCKS))

    assert warnings_of(massive, UnitMask(BLOCKS, chosen)) == [
        "1 of 2 selected block units hold massive activations; silencing one of these harms a "
        "model whatever it is asked"
    ]
    assert warnings_of(massive, others) == []


ANSWERS = {
    "selective_causal": ("yes", "yes"),
    "selective_only": ("yes", "no"),
    "causal_only": ("no", "not asked"),
    "massive": ("no", "not asked"),
    "neither": ("no", "not asked"),
}
"""Kind of planted unit -> whether a mask of these is selective, and causal."""


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_verdict_tells_kinds_of_unit_apart(kind: str) -> None:
    """A mask of each kind of planted unit has the answers that are true of it."""
    network = planted(5, massive_required=True)
    (units,) = np.nonzero(network.kinds[kind])
    chosen = np.zeros(network.adapter.sites.n_units, dtype=bool)
    chosen[units[:10]] = True
    judged = verdict_on(network, mask=UnitMask(network.adapter.sites, chosen))

    assert (judged.answer("selective"), judged.answer("causal")) == ANSWERS[kind]
    assert (judged.n_massive or 0) == (2 if kind == "massive" else 0)
