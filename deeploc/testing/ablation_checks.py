"""Checks of what an adapter does to its model when units are ablated."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from unittest import SkipTest

import numpy as np

from deeploc.core.ablation import Ablation, Edit, ForwardPass, Values
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import MaskError
from deeploc.stimuli import Stimulus
from deeploc.testing.checking import Everywhere, Matrix, Subject, expect

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
    """Check that at a site of every kind ablated units read as 0 at every position."""
    for kind in subject.layout.kinds:
        site = _middle_site(subject, kind)
        units = np.arange(0, site.n_units, 2)
        with subject.adapter.ablated(Ablation(subject.mask({site.name: units}))):
            read = subject.at(site.name)[:, units]
        expect(bool((read == 0).all()), f"an ablated unit of {site.name} does not read as 0")


def offset(subject: Subject) -> None:
    """Check that at a site of every kind an ablated unit reads as the value that it is held at."""
    for site, unit in _one_of_every_kind(subject).items():
        before = subject.intact_at(site)[:, unit]
        with subject.adapter.ablated(_held(subject, {site: unit})):
            read = subject.at(site)[:, unit]
        unreached = (read == 0) & (before == 0)  # as tokens that go to other experts
        held = subject.same(read[~unreached], OFFSET)
        expect(held, f"an ablated unit of {site} does not read as its offset")


def scale(subject: Subject) -> None:
    """Check that at a site of every kind a scaled unit reads as its multiple."""
    for site, unit in _one_of_every_kind(subject).items():
        mask = subject.mask_of({site: unit})
        with subject.adapter.ablated(Ablation(mask, gain=GAIN)):
            read = subject.at(site)[:, unit]
        expect(
            subject.same(read, GAIN * subject.intact_at(site)[:, unit]),
            f"a unit of {site} multiplied by {GAIN:g} does not read so",
        )


def every_site(subject: Subject) -> None:
    """Check that an ablation takes effect at every site."""
    together = _all_held(subject, subject.layout.slices)
    for site, units in subject.layout.slices.items():
        read = together[site]
        if not read.any():  # no token goes to these experts while all else is held, too
            read = _all_held(subject, (site,))[site]
        reached = read[read != 0]  # the others are of experts that a token does not go to
        silent = not subject.intact[:, units].any()
        took = subject.same(reached, OFFSET) and (len(reached) > 0 or silent)
        expect(took, f"an ablation takes no effect at site {site}")


def other_units(subject: Subject) -> None:
    """Check that the other units of a site stay as they are, at every position."""
    for site, unit in _one_of_every_kind(subject).items():
        with subject.adapter.ablated(_held(subject, {site: unit})):
            read = subject.at(site)
        others = np.arange(read.shape[1]) != unit
        kept = _identical(read[:, others], subject.intact_at(site)[:, others])
        expect(kept, f"an ablation changes other units of site {site}")


def earlier_sites(subject: Subject) -> None:
    """Check that sites that come earlier in the forward pass stay as they are."""
    sites = subject.layout.sites
    if len(sites) == 1:
        raise SkipTest("it has one site")
    last = {site.kind: (number, site.name) for number, site in enumerate(sites) if number}
    for number, name in last.values():
        earlier, unit = Layout(sites[:number]), subject.most_active()[name]
        with subject.adapter.ablated(Ablation(subject.mask_of({name: unit}))):
            read = subject.read(layout=earlier)
        kept = _identical(read, subject.intact[:, : earlier.n_units])
        expect(kept, f"an ablation of site {name} changes a site before it")


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
    told = [recorder.numbers_of(subject, [stimulus]) for stimulus in subject.stimuli]
    expect(bool(all(len(numbers) == 1 for numbers in told)), "an edit is not told of a stimulus")
    numbers = [number for (number,) in told]
    different = len(np.unique(subject.intact, axis=0))  # a tokenizer may not tell two texts apart
    expect(len(set(numbers)) >= different, "an edit is told one number for different stimuli")
    together = recorder.numbers_of(subject, subject.stimuli)
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

    def numbers_of(self, subject: Subject, stimuli: Sequence[Stimulus]) -> set[int]:
        """Return the numbers of some stimuli that are read together."""
        self.numbers = set()
        with subject.adapter.ablated(self):
            read = subject.read(stimuli)
        if len(stimuli) == len(subject.stimuli):
            expect(
                subject.same_sites(read, subject.intact),
                "an edit that returns what it is given changes activations",
            )
        return self.numbers


def _under(subject: Subject, edit: Edit) -> Matrix:
    with subject.adapter.ablated(edit):
        return subject.read()


def _all_held(subject: Subject, names: Collection[str]) -> dict[str, Everywhere]:
    """Return what sites show at every position while all of their units are held at `OFFSET`."""
    layout = subject.sites_of(names)
    every = np.ones(layout.n_units, dtype=bool)
    held = Ablation(UnitMask(layout, every), offset=np.full(len(every), OFFSET))
    with subject.adapter.ablated(held):
        return subject.at_positions(layout)


def _held(subject: Subject, units: dict[str, int]) -> Ablation:
    """Return the ablation that holds units at `OFFSET`."""
    mask = subject.mask_of(units)
    return Ablation(mask, offset=np.full(len(mask.selected), OFFSET))


def _middle_site(subject: Subject, kind: str) -> Site:
    sites = [site for site in subject.layout.sites if site.kind == kind]
    return sites[len(sites) // 2]


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
