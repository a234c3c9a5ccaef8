"""What each mode of ablation puts in place, by hand on the toy model and on arrays."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as reference

from deeploc.analysis import position_activations
from deeploc.analysis.localization import localize
from deeploc.analysis.planning import plan
from deeploc.analysis.position_activations import (
    N_DONORS,
    check_modes,
    read_donors,
    read_moments,
)
from deeploc.contrast.fields import Ablate
from deeploc.contrast.model import Contrast
from deeploc.core.ablation import Ablation, Edit, ForwardPass
from deeploc.core.modes import Modes, protocol
from deeploc.core.position_classes import PositionMoments
from deeploc.core.readout import Readout
from deeploc.core.replacing import Donors, Noise, Resampling
from deeploc.core.units import Layout, Site, StatMap, UnitMask
from deeploc.errors import ContrastError, MaskError
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .conftest import stat_map_of
from .test_stages import OTHERS, WORDS, contrast_of

STIMULI = {
    name: tuple(Stimulus(f"{name}:{i}", text) for i, text in enumerate(texts))
    for name, texts in (("abc", WORDS), ("def", OTHERS))
}
ALL = [stimulus for group in STIMULI.values() for stimulus in group]
FIRST, ELSEWHERE = ForwardPass(0, (1,)), ForwardPass(3, (1,))


@pytest.fixture(scope="module")
def stat_map() -> StatMap:
    return localize(ToyAdapter(), contrast_of(), STIMULI)


@pytest.fixture(scope="module")
def moments(stat_map: StatMap) -> PositionMoments:
    return read_moments(ToyAdapter(), contrast_of(), STIMULI, stat_map)


@pytest.fixture(scope="module")
def donors() -> Donors:
    return read_donors(ToyAdapter(), contrast_of(), STIMULI)


@pytest.fixture(scope="module")
def modes(stat_map: StatMap, moments: PositionMoments, donors: Donors) -> Modes:
    return Modes(stat_map, lambda: moments, lambda: donors, seed=0)


def shown(adapter: ToyAdapter, stimuli: Sequence[Stimulus], site: str) -> list[np.ndarray]:
    """Return the activations (position, unit) of every stimulus."""
    rows = dict(adapter.positions(stimuli, adapter.sites, Readout()))
    return [rows[number][site] for number in range(len(stimuli))]


def counts(text: str) -> np.ndarray:
    """Return the letters a to f seen so far, at every position: the block of the toy model."""
    return np.array([[text[: i + 1].count(c) for c in "abcdef"] for i in range(len(text))])


def block_mask() -> UnitMask:
    """Return the units of the block for the letters a to f."""
    sites = ToyAdapter.sites
    first = sites.slices["counter"].start
    return UnitMask(sites, np.isin(np.arange(sites.n_units), np.arange(first, first + 6)))


def test_moments_are_those_of_first_and_of_later_positions(moments: PositionMoments) -> None:
    """By hand: every letter of every text, the first one of each text apart."""
    first = np.concatenate([counts(s.content)[:1] for s in ALL])
    later = np.concatenate([counts(s.content)[1:] for s in ALL])
    units = block_mask().selected

    np.testing.assert_allclose(moments.mean_first[units], first.mean(axis=0))
    np.testing.assert_allclose(moments.sd_first[units], first.std(axis=0, ddof=1))
    np.testing.assert_allclose(moments.mean[units], later.mean(axis=0))
    np.testing.assert_allclose(moments.sd[units], later.std(axis=0, ddof=1))


def test_mean_holds_units_at_the_mean_of_their_class_of_position(
    modes: Modes, moments: PositionMoments
) -> None:
    """The first letter at one value, all later ones at another; other units follow the text."""
    toy, mask = ToyAdapter(), block_mask()
    units = mask.at("counter")
    with toy.ablated(modes.edit("mean", mask)):
        edited = shown(toy, ALL, "counter")

    part = toy.sites.slices["counter"]
    for rows in edited:
        np.testing.assert_array_equal(rows[0, units], moments.mean_first[part][units])
        expected = np.broadcast_to(moments.mean[part][units], rows[1:, units].shape)
        np.testing.assert_array_equal(rows[1:, units], expected)


def test_resampled_units_are_those_of_one_control_stimulus(modes: Modes, donors: Donors) -> None:
    """At every site and position the same donor; beyond its end its later positions again."""
    toy = ToyAdapter()
    every = UnitMask(toy.sites, np.ones(toy.sites.n_units, dtype=bool))
    long = [Stimulus("x", "abcabcabc"), Stimulus("y", "a"), Stimulus("z", "cab")]
    with toy.ablated(modes.edit("resample", every)):
        rows = dict(toy.positions(long, toy.sites, Readout()))

    assert [len(rows[i]["counter"]) for i in range(3)] == [9, 1, 3]
    for number in range(3):
        agreeing = [
            all(
                np.array_equal(
                    rows[number][site.name],
                    donor[site.name][_wrapped(len(rows[number][site.name]), len(donor[site.name]))],
                )
                for site in toy.sites.sites
            )
            for donor in donors.stimuli
        ]
        assert any(agreeing)


def _wrapped(n: int, length: int) -> list[int]:
    """Return 0, 1, ..., length - 1, then 1, ..., length - 1 again and again."""
    later = list(range(1, length)) or [0]
    return [0, *(later * n)][:n]


def test_donors_are_of_the_control_condition_only(donors: Donors) -> None:
    """No letter a, b or c: each donor is a text of the side that is not preferred."""
    seen = np.stack([donor["counter"][-1, :6] for donor in donors.stimuli])

    assert seen.shape == (len(OTHERS), 6)
    np.testing.assert_array_equal(seen, [counts(text)[-1] for text in OTHERS])


def test_there_are_fewer_donors_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; two donors are the least."""
    monkeypatch.setattr(position_activations, "DONOR_BYTES", 1)

    assert len(read_donors(ToyAdapter(), contrast_of(), STIMULI).stimuli) == 2


def test_the_sample_is_taken_evenly_from_the_conditions() -> None:
    """Of 100 and 40 stimuli 12 and 12, at equal distances; of few all."""
    groups = [[Stimulus(f"{k}:{i}", "a") for i in range(n)] for k, n in enumerate((100, 40))]
    chosen = position_activations._sample(groups, N_DONORS)
    places = [int(s.id.partition(":")[2]) for s in chosen]

    assert places == [100 * i // 12 for i in range(12)] + [40 * i // 12 for i in range(12)]
    assert len(position_activations._sample(groups, 1000)) == 140


@pytest.mark.parametrize("mode", ["resample", "noise"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_what_is_put_in_place_does_not_depend_on_the_batch(
    modes: Modes, mode: str, batch_size: int
) -> None:
    """The stimulus and the seed decide, not the stimuli beside it or their order."""
    edit = modes.edit(mode, block_mask())
    alone, together = ToyAdapter(), ToyAdapter(batch_size)
    with alone.ablated(edit):
        expected = [shown(alone, [stimulus], "counter")[0] for stimulus in ALL]
    with together.ablated(edit):
        edited = shown(together, ALL[::-1], "counter")[::-1]

    for a, b in zip(edited, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["resample", "noise"])
def test_the_seed_decides_what_is_put_in_place(modes: Modes, mode: str) -> None:
    """The same seed gives the same activations and key, another one others."""
    other = Modes(modes.stat_map, modes.moments, modes.donors, seed=1)
    edits = [made.edit(mode, block_mask()) for made in (modes, modes, other)]
    results = []
    for edit in edits:
        toy = ToyAdapter()
        with toy.ablated(edit):
            results.append(np.concatenate(shown(toy, ALL, "counter")))

    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()
    assert edits[0].key == edits[1].key != edits[2].key


def two_units() -> PositionMoments:
    layout = Layout((Site("x", "block", 2), Site("y", "block", 2)))
    mean, sd = np.array([3.0, -1.0, 0.0, 5.0]), np.array([2.0, 0.5, 1.0, 0.0])
    return PositionMoments(layout, mean, sd, mean + 100, sd * 3)


def test_noise_has_each_units_own_mean_and_sd() -> None:
    """40,000 draws per unit agree with the moments, and with a normal distribution."""
    moments = two_units()
    noise = Noise(UnitMask(moments.layout, np.ones(4, dtype=bool)), moments)
    many = ForwardPass(0, tuple(range(20_000)))
    drawn = noise.edited("x", np.zeros((20_000, 3, 2)), many)
    first, later = drawn[:, 0], drawn[:, 1:].reshape(-1, 2)

    for unit in range(2):
        for values, mean, sd in (
            (first[:, unit], moments.mean_first[unit], moments.sd_first[unit]),
            (later[:, unit], moments.mean[unit], moments.sd[unit]),
        ):
            assert reference.kstest(values, reference.norm(mean, sd).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(later.T)[0, 1]) < 0.03
    np.testing.assert_array_equal(noise.edited("y", np.zeros((1, 5, 2)), FIRST)[0, 1:, 1], 5.0)


@pytest.mark.parametrize("n_new", [1, 2])
def test_generated_text_goes_on_where_the_pass_before_ended(donors: Donors, n_new: int) -> None:
    """Passes that hold only new tokens put the same in place as one over the whole text."""
    moments = two_units()
    everything = UnitMask(moments.layout, np.ones(4, dtype=bool))
    toy = ToyAdapter.sites
    edits: list[tuple[Edit, str, int]] = [
        (Noise(everything, moments), "x", 2),
        (Ablation(everything, 0.0, moments.mean, moments.mean_first), "x", 2),
        (Resampling(UnitMask(toy, np.ones(52, dtype=bool)), donors), "counter", 26),
    ]
    for edit, site, n_units in edits:
        whole = edit.edited(site, np.zeros((1, 3 + n_new, n_units)), FIRST)
        later = edit.edited(site, np.zeros((1, n_new, n_units)), ELSEWHERE)

        np.testing.assert_array_equal(whole[:, 3:], later)


def test_an_ablation_that_does_not_tell_positions_apart_keeps_its_key() -> None:
    """Keys of zero, scale and one mean are those of earlier versions: known scores are kept."""
    layout = Layout((Site("a", "block", 3), Site("b:x", "mlp", 4, "input"), Site("c", "block", 2)))
    mask = UnitMask(layout, np.isin(np.arange(9), [0, 2, 6]))
    offset = np.arange(9.0)
    elsewhere = offset + 99 * ~mask.selected

    assert Ablation(mask).key == "ec29b3fac0902e418d7805fa3e604911"
    assert Ablation(mask, gain=0.5).key == "119cd37a456f31d00b611b92510fde62"
    assert Ablation(mask, offset=offset).key == "ec40e8b0d43dfab71de3b2011fefdd25"
    assert Ablation(mask, offset=offset, first=elsewhere).key == Ablation(mask, offset=offset).key
    others = {Ablation(mask, offset=offset, first=offset + n).key for n in range(3)}
    assert len(others) == 3


def test_keys_hold_everything_that_decides(donors: Donors, modes: Modes) -> None:
    """Mode, units, moments, donors and seed."""
    mask, more = block_mask(), UnitMask(ToyAdapter.sites, np.arange(52) >= 26)
    moments = two_units()
    every = UnitMask(moments.layout, np.ones(4, dtype=bool))
    wider = PositionMoments(
        moments.layout, moments.mean, moments.sd, moments.mean_first, 2 * moments.sd_first
    )
    fewer = Donors(donors.layout, donors.stimuli[:3], "another hash")
    keys = {
        *(modes.edit(mode, mask).key for mode in ("zero", "mean", "resample", "noise", "scale:2")),
        *(modes.edit(mode, more).key for mode in ("zero", "mean", "resample", "noise", "scale:2")),
        Resampling(mask, donors, 1).key,
        Resampling(mask, fewer).key,
        Noise(every, moments).key,
        Noise(every, moments, 1).key,
        Noise(every, wider).key,
    }
    assert len(keys) == 15


def test_edits_are_of_the_units_that_were_measured(donors: Donors, stat_map: StatMap) -> None:
    """Moments, donors and masks of different sites are refused."""
    moments = two_units()
    foreign = UnitMask(moments.layout, np.ones(4, dtype=bool))
    for make in (
        lambda: Resampling(foreign, donors),
        lambda: Noise(block_mask(), moments),
        lambda: Ablation.of("mean", block_mask(), stat_map, moments),
    ):
        with pytest.raises(MaskError, match="of different units"):
            make()
    with pytest.raises(MaskError, match="needs at least 2 donors, got 1"):
        Donors(donors.layout, donors.stimuli[:1], "")
    with pytest.raises(MaskError, match="a donor has not the 2 units of x"):
        Donors(moments.layout, donors.stimuli, "")
    with pytest.raises(MaskError, match="mean has 1 values but the layout has 4 units"):
        PositionMoments(moments.layout, *[np.ones(1)] * 4)
    with pytest.raises(ValueError, match="'noise' is no `Ablation` of a StatMap alone"):
        Ablation.of("noise", block_mask(), stat_map)


class Pooled:
    """The toy model without its ability to show every position."""

    def __init__(self) -> None:
        self._toy = ToyAdapter()
        self.identity, self.sites = self._toy.identity, self._toy.sites
        self.activations, self.ablated = self._toy.activations, self._toy.ablated


def test_without_positions_mean_is_one_value_and_says_so(stat_map: StatMap) -> None:
    """As before: the mean over what the localizer reads, at every position, with a notice."""
    ablate = Ablate.model_validate({"mode": ["zero", "mean"], "controls": {"random": 0}})
    mask = block_mask()
    todo = plan(stat_map, mask, ablate, 0)
    (made,) = [todo.cells[cell] for cell in todo.cells if cell.mode == "mean"]
    (notice,) = [notice for notice in todo.notices if "mode" in notice]

    assert isinstance(made, Ablation)
    assert not made.has_first
    np.testing.assert_array_equal(made.offset, stat_map.baseline)
    assert "the adapter does not show positions" in notice


@pytest.mark.parametrize("mode", ["resample", "noise"])
def test_modes_that_need_positions_are_refused_before_anything_is_read(
    mode: str, stat_map: StatMap
) -> None:
    """One line with the mode and the reason; the modes that work are named."""
    ablate = {"mode": [mode], "controls": {"random": 0}}
    contrast = Contrast.model_validate({**contrast_of().to_json(), "ablate": ablate})
    words = f"mode '{mode}' needs activations at every position, .* use zero, mean, scale:G or add"
    check_modes(contrast, ToyAdapter())

    with pytest.raises(ContrastError, match=words):
        check_modes(contrast, Pooled())
    with pytest.raises(ValueError, match=words):
        plan(stat_map, block_mask(), contrast.ablate, 0)


def test_protocols_are_told(layout: Layout) -> None:
    """Each mode in words; without moments by class the mean is told to be one."""
    stat_map = stat_map_of(np.zeros(layout.n_units), layout)
    told = {mode: protocol(mode) for mode in ("zero", "mean", "resample", "noise", "scale:-2")}

    assert told["zero"] == "setting them to 0"
    assert told["scale:-2"] == "scaling them by -2"
    assert "first position" in told["mean"]
    assert protocol("mean", by_class=False).endswith("over what the localizer read")
    assert len(set(told.values())) == 5
    assert Modes(stat_map).check(["zero", "scale:2"]) == []
