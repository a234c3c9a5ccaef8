"""A check of any adapter against its protocol."""

import json
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from jaxtyping import Float

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import MaskError
from deeploc.stimuli import Stimulus

Matrix = Float[np.ndarray, "stimulus unit"]

_OFFSET = 2.5
"""The value of ablated units in ``check_adapter``: exact in every floating-point type."""


def check_adapter(
    adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout | None = None
) -> None:
    """Check that an adapter does what the protocol `deeploc.core.adapter.Adapter` requires.

    Parameters
    ----------
    adapter
        The adapter under test.
    stimuli
        A few stimuli, of different lengths where it reads texts.
    readout
        How to read; default: the mean over positions.

    Raises
    ------
    AssertionError
        With the requirement that is not met.
    """
    readout = readout or Readout(pool="mean")
    _check_description(adapter)
    intact = _values(adapter, stimuli, adapter.sites, readout)
    _check_reading(adapter, stimuli, readout, intact)
    if isinstance(adapter, ReadsPositions):
        _check_positions(adapter, stimuli)
    _check_ablation(adapter, stimuli, readout)
    _check_every_site(adapter, stimuli, readout)
    _check_foreign_mask(adapter)


def _check_description(adapter: Adapter) -> None:
    _expect(isinstance(adapter, Adapter), "it lacks a method or property of Adapter")
    _expect({"model", "weights"} <= set(adapter.identity), "identity lacks 'model' or 'weights'")
    decoded = json.loads(json.dumps(dict(adapter.identity)))
    _expect(decoded == dict(adapter.identity), "identity changes when written and read as JSON")
    names = [site.name for site in adapter.sites.sites]
    _expect(len(names) > 0, "it has no sites")
    _expect(len(set(names)) == len(names), "two sites have the same name")
    _expect(all(site.n_units > 0 for site in adapter.sites.sites), "a site has no units")


def _check_reading(
    adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout, intact: Matrix
) -> None:
    again = _values(adapter, stimuli, adapter.sites, readout)
    _expect(_same(intact, again), "reading the same stimuli twice gives different activations")
    order = np.arange(len(stimuli))[::-1]
    reversed_order = _values(adapter, [stimuli[i] for i in order], adapter.sites, readout)
    _expect(_same(intact[order], reversed_order), "activations depend on the order of the stimuli")
    last = adapter.sites.sites[-1]
    alone = _values(adapter, stimuli, Layout((last,)), readout)
    columns = adapter.sites.slices[last.name]
    _expect(
        _same(intact[:, columns], alone), "a site read alone differs from the site among others"
    )


def _check_positions(adapter: Adapter, stimuli: Sequence[Stimulus]) -> None:
    readout = Readout(pool="mean", tokens="all")
    pooled = _values(adapter, stimuli, adapter.sites, readout)
    assert isinstance(adapter, ReadsPositions)
    shown = dict(adapter.positions(stimuli, adapter.sites, readout))
    _expect(sorted(shown) == list(range(len(stimuli))), "positions lack or repeat a stimulus")
    means = np.stack(
        [
            np.concatenate([shown[i][site.name].mean(axis=0) for site in adapter.sites.sites])
            for i in range(len(stimuli))
        ]
    )
    _expect(_same(pooled, means), "the mean over positions differs from pool 'mean'")


def _check_ablation(adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout) -> None:
    layout = adapter.sites.scalars()  # an offset of a head has no direction
    first = layout.sites[0]
    intact = _values(adapter, stimuli, layout, readout)
    chosen = np.zeros(layout.n_units, dtype=bool)
    no_unit = Ablation(UnitMask(layout, chosen.copy()))
    with adapter.ablated(no_unit):
        same = _values(adapter, stimuli, layout, readout)
    _expect(bool((same == intact).all()), "an ablation of no unit changes activations")
    chosen[layout.slices[first.name].start] = True
    held = Ablation(UnitMask(layout, chosen), offset=np.full(len(chosen), _OFFSET))
    with suppress(_Interrupted), adapter.ablated(held):
        edited = _values(adapter, stimuli, layout, readout)
        raise _Interrupted
    _expect(_same(edited[:, chosen], _OFFSET), "an ablated unit does not read as its offset")
    columns = layout.slices[first.name]
    untouched = ~chosen[columns]
    unchanged = edited[:, columns][:, untouched] == intact[:, columns][:, untouched]
    _expect(bool(unchanged.all()), "an ablation changes other units of the first site")
    after = _values(adapter, stimuli, layout, readout)
    _expect(bool((after == intact).all()), "an ablation outlives an exception in its context")


def _check_every_site(adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout) -> None:
    """Check that an ablation takes effect at every site, not only at the first."""
    layout = adapter.sites.scalars()
    first_units = np.zeros(layout.n_units, dtype=bool)
    first_units[[layout.slices[site.name].start for site in layout.sites]] = True
    offset = np.full(layout.n_units, _OFFSET)
    with adapter.ablated(Ablation(UnitMask(layout, first_units), offset=offset)):
        edited = _values(adapter, stimuli, layout, readout)
    for site in layout.sites:
        unit = edited[:, [layout.slices[site.name].start]]
        _expect(_same(unit, _OFFSET), f"an ablation takes no effect at site {site.name}")


def _check_foreign_mask(adapter: Adapter) -> None:
    foreign = Layout((Site("no-such-site-in-any-model", "block", 3),))
    mask = UnitMask(foreign, np.ones(3, dtype=bool))
    with suppress(MaskError), adapter.ablated(Ablation(mask)):
        raise AssertionError(_message("a mask for another model is not refused with MaskError"))


def _values(
    adapter: Adapter, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
) -> Matrix:
    values = np.full((len(stimuli), layout.n_units), np.nan)
    n_read = np.zeros(len(stimuli), dtype=int)
    for batch in adapter.activations(stimuli, layout, readout):
        _expect(
            batch.values.shape == (len(batch.indices), layout.n_units),
            f"a batch has the shape {batch.values.shape}, not (stimuli, units) = "
            f"{(len(batch.indices), layout.n_units)}",
        )
        wide = batch.values.dtype in (np.float32, np.float64)
        _expect(wide, f"activations are {batch.values.dtype}, not float32 or float64")
        values[batch.indices] = batch.values
        np.add.at(n_read, batch.indices, 1)
    _expect(bool((n_read == 1).all()), "a stimulus is left out or read twice")
    return values


def _same(a: Matrix, b: Matrix | float) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))


def _expect(met: bool, failure: str) -> None:
    if not met:
        raise AssertionError(_message(failure))


def _message(failure: str) -> str:
    return f"the adapter does not follow the protocol deeploc.core.adapter.Adapter: {failure}"


class _Interrupted(Exception):
    pass
