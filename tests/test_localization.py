import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from deeploc.analysis.localization import localize
from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.adapter import Batch
from deeploc.core.readout import Readout
from deeploc.core.units import VECTORS, Layout, Site, StatMap
from deeploc.errors import AdapterError, ContrastError
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter, check_adapter

TEXTS = {
    "a": ["aab", "aaa", "ba", "abca", "aacb"],
    "b": ["b", "bbc", "cb", "bab"],
    "c": ["cc", "cab", "c", "ccb", "bc", "ac"],
}


def contrast(declared: object, **changes: object) -> Contrast:
    fields = {
        "name": "letters",
        "title": "Letters",
        "modality": "text",
        "source": "made up for the tests",
        "conditions": {name: {"texts": texts} for name, texts in TEXTS.items()},
        "contrast": declared,
        "read": {"pool": "last", "sites": ["block", "mlp-neurons"]},
        "split": "none",
    }
    return Contrast.model_validate({**fields, **changes})


def counts(condition: str) -> np.ndarray:
    return np.array([[text.count(c) for c in "abc"] for text in TEXTS[condition]], float)


def block(stat_map: StatMap) -> slice:
    start = stat_map.layout.slices["counter"].start
    return slice(start, start + 3)


class Overflowing(ToyAdapter):
    """The toy model with a unit that overflows upwards in one batch, and one in both directions."""

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        for batch in super().activations(stimuli, layout, readout):
            values = batch.values.copy()
            values[0, 1:3] = np.inf
            values[1, 2] = -np.inf
            yield Batch(batch.indices, values)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_unit_that_overflows_is_silenced_and_has_no_magnitude() -> None:
    """Mean ablation holds it at 0; of how large it is nothing is known."""
    stat_map = localize(Overflowing(), contrast("a > b", read={"pool": "last", "sites": "block"}))

    assert stat_map.baseline[1:3].tolist() == [0.0, 0.0]
    assert np.flatnonzero(np.isnan(stat_map.magnitude)).tolist() == [1, 2]


def test_two_conditions_are_scipys_welch() -> None:
    """t, df, p of the letter counts equal scipy's unequal-variance test."""
    stat_map = localize(ToyAdapter(), contrast("a > b"))
    expected = reference.ttest_ind(counts("a"), counts("b"), equal_var=False)

    np.testing.assert_allclose(stat_map.t[block(stat_map)], expected.statistic, rtol=1e-12)
    np.testing.assert_allclose(stat_map.p[block(stat_map)], expected.pvalue, rtol=1e-12)
    np.testing.assert_allclose(stat_map.means["a"][block(stat_map)], counts("a").mean(0))
    np.testing.assert_allclose(stat_map.sds["c"][block(stat_map)], counts("c").std(0, ddof=1))


@pytest.mark.parametrize("against", ["pooled", "each"])
def test_statistics_do_not_depend_on_slices(against: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five units at a time or all 52 at once: the same StatMap, conjunctions included."""
    declared = contrast("a > b, c", against=against)
    whole = localize(ToyAdapter(), declared)
    monkeypatch.setattr(stats, "SLICE", 5)
    sliced = localize(ToyAdapter(), declared)

    for name in VECTORS:
        np.testing.assert_array_equal(getattr(sliced, name), getattr(whole, name))
    np.testing.assert_array_equal(sliced.sds["b"], whole.sds["b"])


def test_every_position_as_a_unit_needs_as_many_in_each_stimulus() -> None:
    """Texts differ in length; the message names the site and the pools that fit."""
    with pytest.raises(AdapterError, match=r"pool 'none' needs .* site counter .* use last, mean"):
        localize(ToyAdapter(), contrast("a > b", read={"pool": "none"}))


def test_pooled_controls_are_one_sample() -> None:
    """`a > b, c` compares with all other stimuli taken together."""
    stat_map = localize(ToyAdapter(), contrast("a > b, c"))
    others = np.concatenate([counts("b"), counts("c")])

    np.testing.assert_allclose(
        stat_map.t[block(stat_map)],
        reference.ttest_ind(counts("a"), others, equal_var=False).statistic,
        rtol=1e-12,
    )


def test_each_is_the_worst_comparison() -> None:
    """A conjunction takes the smallest t, with the p that belongs to it."""
    stat_map = localize(ToyAdapter(), contrast("a > b, c", against="each"))
    pairs = [reference.ttest_ind(counts("a"), counts(c), equal_var=False) for c in "bc"]
    worst = np.argmin([pair.statistic for pair in pairs], axis=0)

    for i in range(3):
        np.testing.assert_allclose(stat_map.t[block(stat_map)][i], pairs[worst[i]].statistic[i])
        np.testing.assert_allclose(stat_map.p[block(stat_map)][i], pairs[worst[i]].pvalue[i])


def test_weights_of_two_conditions_are_the_same_contrast() -> None:
    """{a: 1, b: -1} and `a > b` are one thing."""
    weighted, plain = (localize(ToyAdapter(), contrast(c)) for c in ({"a": 1, "b": -1}, "a > b"))

    np.testing.assert_allclose(weighted.t, plain.t, rtol=1e-12)
    np.testing.assert_allclose(weighted.d, plain.d, rtol=1e-12)


def test_q_is_adjusted_within_a_kind_of_site() -> None:
    """Reading a second kind does not change the q of the first."""
    both = localize(ToyAdapter(), contrast("a > b"))
    alone = localize(ToyAdapter(), contrast("a > b", read={"pool": "last", "sites": "block"}))

    np.testing.assert_array_equal(both.q[both.layout.of_kind("block")], alone.q)


class Signed(ToyAdapter):
    """The toy model with the letter b counted downwards."""

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        for batch in super().activations(stimuli, layout, readout):
            values = batch.values.copy()
            values[:, 1] *= -1
            yield Batch(batch.indices, values)


@pytest.mark.parametrize("response", ["abs", "signed"])
def test_baseline_is_signed_and_magnitude_is_not(response: str) -> None:
    """Whatever units are ranked by, mean ablation holds them at their signed mean."""
    read = {"pool": "last", "sites": "block", "response": response}
    stat_map = localize(Signed(), contrast("a > b", read=read))
    everything = np.concatenate([counts(c) for c in "abc"])

    assert abs(stat_map.means["b"][1]) == counts("b")[:, 1].mean()
    assert (stat_map.means["b"][1] > 0) == (response == "abs")
    assert stat_map.baseline[1] == pytest.approx(-everything[:, 1].mean())
    np.testing.assert_allclose(stat_map.magnitude[:3], everything.mean(axis=0))


@settings(max_examples=25)
@given(st.integers(1, 20), st.randoms(use_true_random=False))
def test_t_depends_on_neither_batches_nor_order(batch_size: int, random: object) -> None:
    """Any batch size and any order of stimuli gives the same map."""
    stimuli = {c: [Stimulus(f"{c}:{i}", t) for i, t in enumerate(TEXTS[c])] for c in TEXTS}
    expected = localize(ToyAdapter(), contrast("a > b"), stimuli)
    for group in stimuli.values():
        random.shuffle(group)
    result = localize(ToyAdapter(batch_size), contrast("a > b"), stimuli)

    np.testing.assert_allclose(result.t, expected.t, atol=1e-10)


def test_swapping_the_conditions_flips_t() -> None:
    """The contrast has a direction."""
    there, back = (
        localize(ToyAdapter(), contrast("a > b")),
        localize(ToyAdapter(), contrast("b > a")),
    )

    np.testing.assert_allclose(there.t, -back.t, atol=1e-12)


def test_one_stimulus_is_told_with_its_condition() -> None:
    """A variance needs two, whoever supplied the stimuli."""
    stimuli = {c: [Stimulus(f"{c}:{i}", t) for i, t in enumerate(TEXTS[c])] for c in TEXTS}
    stimuli["b"] = stimuli["b"][:1]

    with pytest.raises(ContrastError, match="condition 'b' has 1 stimuli to localize with"):
        localize(ToyAdapter(), contrast("a > b"), stimuli)


def test_unknown_kind_of_site_is_told_with_those_that_exist() -> None:
    """The message lists the kinds and the command that lists the sites."""
    with pytest.raises(
        AdapterError, match=r"no site of kind or name 'heads'; .*mlp-neurons, block"
    ):
        localize(ToyAdapter(), contrast("a > b", read={"sites": "heads"}))


class Wide:
    """A model of 20,000 units that answers with noise, batch by batch."""

    identity = {"model": "wide", "weights": "none"}
    sites = Layout((Site("h.0", "block", 20_000),))

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        del layout, readout  # noise has neither
        rng = np.random.default_rng(0)
        for start in range(0, len(stimuli), 10):
            indices = np.arange(start, min(start + 10, len(stimuli)))
            yield Batch(indices, rng.normal(size=(len(indices), 20_000)))

    ablated = ToyAdapter.ablated


def test_memory_does_not_grow_with_the_number_of_stimuli() -> None:
    """Ten times the stimuli raise the peak by less than 5 %: no activation is kept."""

    def peak(n: int) -> int:
        stimuli = {c: [Stimulus(f"{c}:{i}", "a") for i in range(n)] for c in TEXTS}
        tracemalloc.start()
        localize(Wide(), contrast("a > b", read={"sites": "block"}), stimuli)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(400) < 1.05 * peak(40)


def test_the_toy_model_keeps_the_contract() -> None:
    """What plugin authors are offered as an example passes the check they are offered."""
    check_adapter(ToyAdapter(), [Stimulus("a", "abc"), Stimulus("b", "zz"), Stimulus("c", "q")])
