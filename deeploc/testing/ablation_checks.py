"""Checks of what an adapter does to its model when units are ablated."""

from contextlib import suppress
from dataclasses import dataclass, field
from unittest import SkipTest

import numpy as np

from deeploc.core.ablation import Ablation, Edit, ForwardPass, Values
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import MaskError
from deeploc.testing.checking import Matrix, OneUnit, Subject, expect

OFFSET = 2.5
"""What ablated units are held at: exact in every floating-point type."""

GAIN = 3.0
"""What ablated units are multiplied by."""


def no_units(subject: Subject) -> None:
    """Check that an ablation of no unit changes no bit."""
    none = UnitMask(subject.layout, np.zeros(subject.layout.n_units, dtype=bool))
    read = _under(subject, Ablation(none))
    expect(_identical(read, subject.intact), "an ablation of no unit changes activations")


def zero(subject: Subject) -> None:
    """Check that at a site of every kind an ablated unit reads as 0."""
    for site, unit in _one_of_every_kind(subject).items():
        mask = subject.mask_of({site: unit})
        with subject.adapter.ablated(Ablation(mask)):
            read = subject.at_positions({site: unit})[site]
        expect(bool((read == 0).all()), f"an ablated unit of {site} does not read as 0")


def offset(subject: Subject) -> None:
    """Check that at a site of every kind an ablated unit reads as the value that it is held at."""
    for site, unit in _one_of_every_kind(subject).items():
        before = subject.at_positions({site: unit})[site]
        read = _held(subject, {site: unit})[site]
        unreached = (read == 0) & (before == 0)  # as tokens that go to other experts
        held = subject.same(read[~unreached], OFFSET)
        expect(held, f"an ablated unit of {site} does not read as its offset")


def scale(subject: Subject) -> None:
    """Check that at a site of every kind a scaled unit reads as its multiple."""
    for site, unit in _one_of_every_kind(subject).items():
        before = subject.at_positions({site: unit})[site]
        mask = subject.mask_of({site: unit})
        with subject.adapter.ablated(Ablation(mask, gain=GAIN)):
            read = subject.at_positions({site: unit})[site]
        expect(
            subject.same(read, GAIN * before),
            f"a unit of {site} multiplied by {GAIN:g} does not read so",
        )


def every_site(subject: Subject) -> None:
    """Check that an ablation takes effect at every site."""
    units = subject.most_active()
    for site, read in _held(subject, units).items():
        # the edits of earlier sites may send all tokens to other experts
        held = read if read.any() else _held(subject, {site: units[site]})[site]
        reached = held[held != 0]
        silent = not subject.intact[:, subject.layout.slices[site]].any()
        took = subject.same(reached, OFFSET) and (len(reached) > 0 or silent)
        expect(took, f"an ablation takes no effect at site {site}")


def other_units(subject: Subject) -> None:
    """Check that the other units of a site stay as they are."""
    for site, unit in _one_of_every_kind(subject).items():
        mask = subject.mask_of({site: unit})
        read = _under(subject, Ablation(mask, offset=np.full(len(mask.selected), OFFSET)))
        at = subject.layout.slices[site]
        others = np.arange(at.stop - at.start) != unit
        kept = _identical(read[:, at][:, others], subject.intact[:, at][:, others])
        expect(kept, f"an ablation changes other units of site {site}")


def earlier_sites(subject: Subject) -> None:
    """Check that sites that come earlier in the forward pass stay as they are."""
    last = {site.kind: site for site in subject.layout.sites}
    found = False
    for site in last.values():
        start = subject.layout.slices[site.name].start
        if not start:
            continue
        found = True
        unit = subject.most_active()[site.name]
        read = _under(subject, Ablation(subject.mask_of({site.name: unit})))
        kept = _identical(read[:, :start], subject.intact[:, :start])
        expect(kept, f"an ablation of site {site.name} changes a site before it")
    if not found:
        raise SkipTest("it has one site")


def after_exception(subject: Subject) -> None:
    """Check that an ablation ends with its context, also where an exception leaves it."""
    mask = subject.mask_of(_one_of_every_kind(subject))
    with suppress(_Interrupted), subject.adapter.ablated(Ablation(mask)):
        subject.read()
        raise _Interrupted
    expect(
        _identical(subject.read(), subject.intact),
        "an ablation outlives an exception in its context",
    )


def forward_pass(subject: Subject) -> None:
    """Check that an edit is told where a pass begins, and a number that the stimulus decides."""
    recorder = _Recorder(subject.mask_of(_one_of_every_kind(subject)))
    told = [recorder.numbers_of(subject, [i]) for i in range(len(subject.stimuli))]
    expect(bool(all(len(numbers) == 1 for numbers in told)), "an edit is not told of a stimulus")
    numbers = [number for (number,) in told]
    different = len(np.unique(subject.intact, axis=0))  # a tokenizer may not tell two texts apart
    expect(len(set(numbers)) >= different, "an edit is told one number for different stimuli")
    together = recorder.numbers_of(subject, list(range(len(numbers))))
    expect(together == set(numbers), "the number of a stimulus depends on the rest of its batch")


def foreign_mask(subject: Subject) -> None:
    """Check that a mask for another model is refused with MaskError."""
    foreign = Layout((Site("no-such-site-in-any-model", "block", 3),))
    mask = UnitMask(foreign, np.ones(3, dtype=bool))
    refused = False
    try:
        with subject.adapter.ablated(Ablation(mask)):
            pass
    except MaskError:
        refused = True
    expect(refused, "a mask for another model is not refused with MaskError")


@dataclass
class _Recorder:
    """An edit that changes nothing and records which stimuli it was told of."""

    mask: UnitMask
    key: str = "recorder"
    numbers: set[int] = field(default_factory=set)

    def edited(self, site: str, values: Values, forward_pass: ForwardPass) -> Values:
        """Record the stimuli; return the values as they are."""
        del site
        expect(forward_pass.start == 0, "a pass that begins with its stimuli does not begin at 0")
        n = len(forward_pass.stimuli)
        expect(n == len(values), f"an edit is told of {n} stimuli but given {len(values)}")
        self.numbers.update(forward_pass.stimuli)
        return values

    def numbers_of(self, subject: Subject, chosen: list[int]) -> set[int]:
        """Return the numbers of some stimuli that are read together."""
        self.numbers = set()
        stimuli = [subject.stimuli[i] for i in chosen]
        with subject.adapter.ablated(self):
            read = subject.read(stimuli)
        expect(
            subject.same(read, subject.read(stimuli)),
            "an edit that returns what it is given changes activations",
        )
        return self.numbers


def _under(subject: Subject, edit: Edit) -> Matrix:
    with subject.adapter.ablated(edit):
        return subject.read()


def _held(subject: Subject, units: dict[str, int]) -> dict[str, OneUnit]:
    """Return what units read as that are held at `OFFSET`."""
    mask = subject.mask_of(units)
    held = Ablation(mask, offset=np.full(len(mask.selected), OFFSET))
    with subject.adapter.ablated(held):
        return subject.at_positions(units)


def _one_of_every_kind(subject: Subject) -> dict[str, int]:
    """Return the most active unit of the first site of every kind."""
    active = subject.most_active()
    first: dict[str, str] = {}
    for site in subject.layout.sites:
        first.setdefault(site.kind, site.name)
    return {name: active[name] for name in first.values()}


def _identical(a: Matrix, b: Matrix) -> bool:
    return np.array_equal(a, b, equal_nan=True)


class _Interrupted(Exception):
    pass
