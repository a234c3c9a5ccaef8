from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Batch
from deeploc.core.readout import Readout
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError, MaskError
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter, check_adapter

STIMULI = [Stimulus(f"texts:{i}", text) for i, text in enumerate(["abba", "zoo, bar", "c", "tt"])]


def counts(adapter: ToyAdapter, text: str, **readout: Any) -> np.ndarray:
    layout = adapter.sites.choose(["block"])
    (batch,) = adapter.activations([Stimulus("x", text)], layout, Readout(**readout))
    return np.asarray(batch.values[0])


def test_toy_counts_letters() -> None:
    """At the last letter the block holds how often each letter has been seen."""
    letters = counts(ToyAdapter(), "Abba!")

    assert letters[:3].tolist() == [2.0, 2.0, 0.0]
    assert counts(ToyAdapter(), "ab", pool="mean")[:2].tolist() == [1.0, 0.5]
    assert counts(ToyAdapter(), "a a", pool="max", tokens="all")[0] == 2.0


def test_silenced_neuron_stops_its_letter_from_being_counted() -> None:
    """The block downstream of an ablated neuron no longer counts that letter."""
    toy = ToyAdapter()
    layout = toy.sites.choose(["mlp-neurons"])
    with toy.ablated(Ablation(UnitMask(layout, np.arange(26) == 0))):
        assert counts(toy, "abba")[:2].tolist() == [0.0, 2.0]
    assert counts(toy, "abba")[:2].tolist() == [2.0, 2.0]


def test_ablations_nest() -> None:
    """An ablation inside another: both act, and each ends with its own context."""
    toy = ToyAdapter()
    layout = toy.sites.choose(["mlp-neurons"])
    a, b = (Ablation(UnitMask(layout, np.arange(26) == i)) for i in range(2))
    with toy.ablated(a):
        with toy.ablated(b):
            assert counts(toy, "abba")[:2].tolist() == [0.0, 0.0]
        assert counts(toy, "abba")[:2].tolist() == [0.0, 2.0]


def test_toy_refuses_what_it_cannot_read() -> None:
    """No letters, or a pool that does not apply."""
    with pytest.raises(AdapterError, match="stimulus x has no letter to read: '1 2'"):
        counts(ToyAdapter(), "1 2")
    with pytest.raises(AdapterError, match="cannot pool 'cls'"):
        counts(ToyAdapter(), "ab", pool="cls")


def test_toy_keeps_the_contract() -> None:
    """The check passes on an adapter that is right."""
    check_adapter(ToyAdapter(), STIMULI)
    check_adapter(ToyAdapter(batch_size=1), STIMULI, Readout(pool="last"))


class LosesOne(ToyAdapter):
    def activations(self, stimuli: Sequence[Stimulus], *args: Any) -> Iterator[Batch]:
        yield from super().activations(stimuli[1:], *args)


class ReadsTwice(ToyAdapter):
    def activations(self, *args: Any) -> Iterator[Batch]:
        for batch in super().activations(*args):
            yield batch
            yield batch


class HalfPrecision(ToyAdapter):
    def activations(self, *args: Any) -> Iterator[Batch]:
        for batch in super().activations(*args):
            yield replace(batch, values=batch.values.astype(np.float16))


class IgnoresLayout(ToyAdapter):
    def activations(self, stimuli: Sequence[Stimulus], *args: Any) -> Iterator[Batch]:
        yield from super().activations(stimuli, self.sites, args[-1])


class Drifts(ToyAdapter):
    calls = 0

    def activations(self, *args: Any) -> Iterator[Batch]:
        self.calls += 1
        for batch in super().activations(*args):
            yield replace(batch, values=batch.values + self.calls)


class Inert(ToyAdapter):
    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        with super().ablated(replace(ablation, gain=1.0, offset=None)):
            yield


class Spills(ToyAdapter):
    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        everyone = replace(ablation.mask, selected=np.full(52, ablation.mask.selected.any()))
        with super().ablated(replace(ablation, mask=everyone)):
            yield


class LeavesOneSiteOut(ToyAdapter):
    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        mask = ablation.mask
        reached = mask.selected & (np.arange(len(mask.selected)) < 26)
        with super().ablated(replace(ablation, mask=replace(mask, selected=reached))):
            yield


class NeverEnds(ToyAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.entered: list[AbstractContextManager[None]] = []

    def ablated(self, ablation: Ablation) -> AbstractContextManager[None]:
        self.entered.append(super().ablated(ablation))
        self.entered[-1].__enter__()
        return nullcontext()


class TakesAnyMask(ToyAdapter):
    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        try:
            with super().ablated(ablation):
                yield
        except MaskError:
            yield


class Nameless(ToyAdapter):
    identity = {"model": "toy"}


@pytest.mark.parametrize(
    ("adapter", "broken"),
    [
        (LosesOne, "a stimulus is left out or read twice"),
        (ReadsTwice, "a stimulus is left out or read twice"),
        (HalfPrecision, "activations are float16, not float32 or float64"),
        (IgnoresLayout, r"a batch has the shape \(3, 52\), not \(stimuli, units\) = \(3, 26\)"),
        (Drifts, "reading the same stimuli twice gives different activations"),
        (Inert, "an ablated unit of counter.mlp.down:input does not read as 0"),
        (Spills, "an ablation changes other units of site counter.mlp.down:input"),
        (LeavesOneSiteOut, "an ablated unit of counter does not read as 0"),
        (NeverEnds, "an ablation outlives an exception in its context"),
        (TakesAnyMask, "a mask for another model is not refused with MaskError"),
        (Nameless, "identity lacks 'model' or 'weights'"),
    ],
)
def test_unmet_requirement_is_named(adapter: type[ToyAdapter], broken: str) -> None:
    """Each way to break the protocol is detected and named."""
    with pytest.raises(AssertionError, match=broken):
        check_adapter(adapter(), STIMULI)
