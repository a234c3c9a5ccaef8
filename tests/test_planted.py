import numpy as np
import pytest
from scipy import stats as reference

import deeploc
from deeploc.core.ablation import Ablation
from deeploc.core.controls import random_like
from deeploc.core.readout import Readout
from deeploc.core.results import Cell, Score
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus, load
from deeploc.testing import Planted, check_adapter, planted


@pytest.fixture(scope="module")
def network() -> Planted:
    return planted(seed=3)


@pytest.fixture(scope="module")
def with_required() -> Planted:
    return planted(seed=3, massive_required=True)


def localized(network: Planted) -> StatMap:
    return deeploc.localize(network.adapter, network.contrast, network.halves[0])


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return how often a positive unit has the larger score: U / (n1 n2)."""
    u = reference.mannwhitneyu(scores[positive], scores[~positive]).statistic
    return float(u / (positive.sum() * (~positive).sum()))


def nll_of(scores: list[Score], condition: str) -> list[float]:
    return [row.value for row in scores if (row.metric, row.condition) == ("nll", condition)]


def damages(
    network: Planted, kind: str, mode: str, condition: str, n_controls: int = 20
) -> tuple[float, np.ndarray, list[Score]]:
    """Return how much the units of a kind raise the nll, how much random sets do, and the rows."""
    stat_map = localized(network)
    mask = UnitMask(network.adapter.sites, network.kinds[kind])
    masks = [mask, *(random_like(mask, seed) for seed in range(n_controls))]
    cells = {
        Cell("block", mode, 1.0, f"random-{i}"): Ablation.of(mode, units, stat_map)
        for i, units in enumerate(masks)
    }
    scores = deeploc.evaluate(network.adapter, network.tasks, {Cell(): None, **cells})
    intact, ablated, *controls = nll_of(scores, condition)
    return ablated - intact, np.array(controls) - intact, scores


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_planted_network_keeps_the_contract(network: Planted, pool: str) -> None:
    """It is an adapter like any other, for targets and for texts it was not made for."""
    stimuli = [*network.halves[0]["target"][:3], Stimulus("x", "Any other text.")]
    check_adapter(network.adapter, stimuli, Readout(pool=pool))  # type: ignore[arg-type]


def test_every_unit_is_of_one_kind(network: Planted) -> None:
    """As many as asked for; the rest is neither."""
    assert {kind: int(units.sum()) for kind, units in network.kinds.items()} == {
        "selective_causal": 10,
        "selective_only": 10,
        "causal_only": 20,
        "opposite": 10,
        "massive": 2,
        "neither": 1948,
    }
    assert (sum(units.astype(int) for units in network.kinds.values()) == 1).all()
    assert len(network.adapter.sites.sites) == 2


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_effect_is_cohens_d(effect: float) -> None:
    """With 500 stimuli a condition the mean d of each kind is what was planted, to 0.05."""
    network = planted(4, effect, n_stimuli=500)
    stimuli = load(network.contrast, seed=0)
    d = deeploc.localize(network.adapter, network.contrast, stimuli).d
    means = {kind: d[units].mean() for kind, units in network.kinds.items() if kind != "massive"}
    expected = dict.fromkeys(means, 0.0)
    expected |= {"selective_causal": effect, "selective_only": effect, "opposite": -effect}

    assert means == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_t_tells_selective_units_at_the_default_effect(seed: int) -> None:
    """AUROC of Welch's t is at least 0.99 in every network."""
    network = planted(seed)

    assert auroc(localized(network).t, network.selective) >= 0.99


def test_units_are_correlated_and_of_many_scales(network: Planted) -> None:
    """Typical correlations are those of a shared 30 %; massive units are far beyond the others."""
    (batch,) = network.adapter.activations(
        [Stimulus(str(i), f"target {i}") for i in range(2000)], network.adapter.sites, Readout()
    )
    r = np.corrcoef(batch.values[:, :200].T)[np.triu_indices(200, 1)]
    size = np.abs(batch.values).mean(axis=0)
    massive = network.kinds["massive"]

    # cosines of random directions in 5 dimensions have the variance 1/5; sampling adds 1/2000
    assert r.std() == pytest.approx(0.3 * np.sqrt(1 / 5), abs=0.03)
    assert (size[massive] > 1000 * np.median(size)).all()
    assert np.quantile(size[~massive], 0.99) > 5 * np.median(size)


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize(
    ("kind", "outcome"), [("selective_causal", "target"), ("causal_only", "other")]
)
def test_causal_units_harm_their_outcome_only(
    network: Planted, kind: str, outcome: str, mode: str
) -> None:
    """Ten times the damage of the worst matched random set; no more than it on the other one."""
    harm, controls, scores = damages(network, kind, mode, outcome)
    (unrelated,) = {"target", "other"} - {outcome}
    intact, ablated, *_ = nll_of(scores, unrelated)

    assert harm > 10 * max(controls)
    assert harm > 10 * (ablated - intact)


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize("outcome", ["target", "other"])
@pytest.mark.parametrize("kind", ["selective_only", "opposite"])
def test_selective_units_need_not_be_causal(
    network: Planted, kind: str, outcome: str, mode: str
) -> None:
    """Some damage, as any units do: no more than random sets, far less than causal units."""
    causal = {"target": "selective_causal", "other": "causal_only"}[outcome]
    harm, controls, _ = damages(network, kind, mode, outcome)

    assert 0 < abs(harm) < max(controls)
    assert abs(harm) < 0.01 * damages(network, causal, mode, outcome, 0)[0]


def test_massive_units_are_harmless_unless_required(
    network: Planted, with_required: Planted
) -> None:
    """At 0 all information is lost or none; at their mean none is lost in either case."""
    for outcome in ("target", "other"):
        assert damages(network, "massive", "zero", outcome, 0)[0] == 0
        assert damages(with_required, "massive", "zero", outcome, 0)[0] > 0.5
        assert abs(damages(with_required, "massive", "mean", outcome, 0)[0]) < 0.01


@pytest.mark.parametrize("nothing", ["effect 0", "halves of a condition"])
def test_a_contrast_of_nothing_selects_by_chance(nothing: str) -> None:
    """t is that of equal means, and prefers no kind of unit; what is causal stays so."""
    networks = [planted(seed, 0.0 if nothing == "effect 0" else 1.0) for seed in range(12)]
    if nothing != "effect 0":
        networks = [network.with_null_contrast() for network in networks]
    maps = [localized(network) for network in networks]
    planted_units = [n.kinds["selective_causal"] | n.kinds["selective_only"] for n in networks]
    areas = [auroc(m.t, units) for m, units in zip(maps, planted_units, strict=True)]
    p = np.concatenate([stat_map.p for stat_map in maps])

    assert not any(network.selective.any() for network in networks)
    # an area over 20 units has a standard deviation of sqrt(1 / (12 * 20)) = 0.065; 5 errors
    assert np.mean(areas) == pytest.approx(0.5, abs=5 * 0.065 / np.sqrt(12))
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    harm, controls, _ = damages(networks[0], "selective_causal", "zero", "target")
    assert harm > 10 * max(controls)


def test_null_contrast_halves_one_condition(network: Planted) -> None:
    """As many stimuli as the contrast has, all of them different targets, none an item."""
    null = network.with_null_contrast()
    texts = [str(s.content) for half in null.halves for group in half.values() for s in group]
    items = str(null.contrast.tasks)

    assert sorted(null.contrast.conditions) == ["same", "target"]
    assert len(set(texts)) == 200
    assert all(text.startswith("target ") for text in texts)
    assert not any(f"'{text}'" in items for text in texts)
    assert null.tasks[0].identity == network.tasks[0].identity


def test_arguments_decide_the_network(network: Planted) -> None:
    """Equal arguments: equal identity and activations; others: another identity."""
    same = planted(seed=3)
    np.testing.assert_array_equal(localized(network).t, localized(same).t)
    others = [planted(seed=4), planted(3, 0.9), planted(3, massive_required=True)]
    identities = [str(n.adapter.identity) for n in (same, *others)]

    assert network.adapter.identity == same.adapter.identity
    assert len(set(identities)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effect": -1.0}, "effect is -1; Cohen's d of the selective units is 0 or more"),
        ({"effect": float("nan")}, "effect is nan"),
        ({"massive": -1}, "massive is -1; a number of units is 0 or more"),
        ({"n_stimuli": 3}, "n_stimuli is 3; each half of a condition needs at least two"),
        ({"n_units": 26}, "52 units are planted, but 2 sites of 26 units have to hold them"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, float], message: str) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=message):
        planted(**arguments)  # type: ignore[arg-type]


def test_class_token_is_refused(network: Planted) -> None:
    """A text has one position, and it is no class token."""
    reading = network.adapter.activations([], network.adapter.sites, Readout(pool="cls"))
    with pytest.raises(AdapterError, match="the planted network cannot pool 'cls'"):
        next(reading)
