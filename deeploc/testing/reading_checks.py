"""Checks of what an adapter says of itself, and of how it reads activations."""

import json
from dataclasses import replace
from unittest import SkipTest

import numpy as np

from deeploc.core.adapter import Adapter
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing.checking import Everywhere, Subject, expect

N_TOGETHER = 8
"""Stimuli of the larger batch."""


_UNUSUAL_SEED = 91_823
"""Of random weights: a model that was itself made at random was probably made with a small one."""


def description(subject: Subject) -> None:
    """Check that identity is JSON with model and weights, and that there are sites with units."""
    adapter = subject.adapter
    expect(isinstance(adapter, Adapter), "it lacks a method or property of Adapter")
    expect({"model", "weights"} <= set(adapter.identity), "identity lacks 'model' or 'weights'")
    identity = dict(adapter.identity)
    try:
        decoded = json.loads(json.dumps(identity))
    except (TypeError, ValueError) as error:
        expect(False, f"identity is no JSON: {error}")
    expect(decoded == identity, "identity changes when written and read as JSON")
    names = [site.name for site in adapter.sites.sites]
    expect(len(names) > 0, "it has no sites")
    expect(all(site.n_units > 0 for site in adapter.sites.sites), "a site has no units")


def stable_sites(subject: Subject) -> None:
    """Check that loaded twice, it has the same sites and the same identity."""
    if subject.load is None:
        expect(
            subject.adapter.sites.scalars() == subject.layout,
            "its sites change from one look to the next",
        )
        raise SkipTest("how to load the adapter once more is not known")
    again = subject.load(subject.options)
    expect(again.sites.scalars() == subject.layout, "loaded twice, it has other sites")
    changed = _differing(dict(subject.adapter.identity), dict(again.identity))
    expect(not changed, f"loaded twice, its identity differs in {', '.join(changed)}")


def untrained(subject: Subject) -> None:
    """Check that loaded untrained, it has other weights, or it refuses to."""
    if subject.load is None:
        raise SkipTest("how to load the adapter once more is not known")
    if subject.options.untrained:
        raise SkipTest("it is loaded untrained already")
    try:
        copy = subject.load(replace(subject.options, untrained=True, seed=_UNUSUAL_SEED))
    except AdapterError as error:
        raise SkipTest(f"it cannot be loaded untrained: {error}") from None
    own, other = subject.adapter.identity["weights"], copy.identity.get("weights")
    expect(own != other, "loaded untrained, it has the same weights; raise AdapterError if it has "
                         "no untrained form")  # fmt: skip


def batches(subject: Subject) -> None:
    """Check that every stimulus is read once, as float32 or float64 by (stimulus, unit)."""
    n_read = np.zeros(len(subject.stimuli), dtype=int)
    for layout in (subject.layout, Layout(subject.layout.sites[-1:])):
        n_read[:] = 0
        for batch in subject.adapter.activations(subject.stimuli, layout, subject.readout):
            shape = (len(batch.indices), layout.n_units)
            expect(
                batch.values.shape == shape,
                f"a batch has the shape {batch.values.shape}, not (stimuli, units) = {shape}",
            )
            wide = batch.values.dtype in (np.float32, np.float64)
            expect(wide, f"activations are {batch.values.dtype}, not float32 or float64")
            np.add.at(n_read, batch.indices, 1)
        expect(bool((n_read == 1).all()), "a stimulus is left out or read twice")


def deterministic(subject: Subject) -> None:
    """Check that equal stimuli give equal activations."""
    again = subject.read()
    expect(
        subject.same_sites(subject.intact, again),
        "reading the same stimuli twice gives different activations",
    )


def batch_size(subject: Subject) -> None:
    """Check that a stimulus reads the same alone and among eight, and with every --batch-size."""
    for stimulus in (subject.stimuli[0], subject.stimuli[-1]):
        copies = [Stimulus(f"{stimulus.id}:{i}", stimulus.content) for i in range(N_TOGETHER)]
        alone, among = subject.read(copies[:1])[0], subject.read(copies)[0]
        expect(subject.same_sites(alone, among), "activations depend on how many stimuli are read")
    if subject.load is None:
        return
    for size in (1, N_TOGETHER):
        try:
            other = subject.load(replace(subject.options, batch_size=size))
        except AdapterError:  # it does not take the option
            return
        if other.sites.scalars() != subject.layout:  # the check of stable sites tells
            return
        read = subject.read(adapter=other)
        expect(
            subject.same_sites(subject.intact, read), f"activations depend on --batch-size {size}"
        )


def neighbours(subject: Subject) -> None:
    """Check that a stimulus reads the same beside shorter and longer ones: padding is not seen."""
    ordered = sorted(subject.stimuli, key=lambda stimulus: len(str(stimulus.content)))
    few, many = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
    n = min(len(few), len(many))
    for stimulus in (ordered[0], ordered[len(ordered) // 2], ordered[-1]):
        first, second = ([stimulus, *others[:n]] for others in (few, many))
        a, b = subject.read(first)[0], subject.read(second)[0]
        expect(subject.same_sites(a, b), "activations depend on the other stimuli, or on padding")


def order(subject: Subject) -> None:
    """Check that the order of the stimuli does not matter."""
    backwards = np.arange(len(subject.stimuli))[::-1]
    read = subject.read([subject.stimuli[i] for i in backwards])
    expect(
        subject.same_sites(subject.intact[backwards], read),
        "activations depend on the order of the stimuli",
    )


def site_alone(subject: Subject) -> None:
    """Check that a site reads the same alone as among all others."""
    for site in {site.kind: site for site in subject.layout.sites}.values():
        alone = subject.read(layout=Layout((site,)))
        expect(
            subject.same(subject.intact[:, subject.layout.slices[site.name]], alone),
            f"site {site.name} read alone differs from the site among others",
        )


def positions(subject: Subject) -> None:
    """Check that the mean over the positions that it shows is what pool ``mean`` reads."""
    adapter = subject.adapter
    if not isinstance(adapter, ReadsPositions):
        raise SkipTest("it does not show positions")
    readout = Readout(pool="mean", tokens="all", max_tokens=subject.readout.max_tokens)
    shown = dict(adapter.positions(subject.stimuli, subject.layout, readout))
    expect(
        sorted(shown) == list(range(len(subject.stimuli))), "positions lack or repeat a stimulus"
    )
    pooled = replace(subject, readout=readout).read()
    sites = subject.layout.sites
    means = np.stack(
        [
            np.concatenate([np.mean(shown[i][site.name], axis=0, dtype=float) for site in sites])
            for i in range(len(subject.stimuli))
        ]
    )
    expect(subject.same_sites(pooled, means), "the mean over positions differs from pool 'mean'")


def position_batches(subject: Subject) -> None:
    """Check that a stimulus shows the same at every position alone and among two, three or all."""
    if not isinstance(subject.adapter, ReadsPositions):
        raise SkipTest("it does not show positions")
    n = len(subject.stimuli)
    alone = _in_batches(subject, 1)
    for size in (2, 3, n):
        together = _in_batches(subject, size)
        for site, values in alone.items():
            same = values.shape == together[site].shape and subject.same(values, together[site])
            expect(same, f"a position at {site} depends on the other stimuli")


def _in_batches(subject: Subject, size: int) -> dict[str, Everywhere]:
    """Return activations at every position, of at most ``size`` stimuli at a time."""
    starts = range(0, len(subject.stimuli), size)
    parts = [subject.stimuli[start : start + size] for start in starts]
    read = [subject.at_positions(subject.layout, part) for part in parts]
    return {name: np.concatenate([r[name] for r in read]) for name in subject.layout.slices}


def _differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
