"""Edits other than `Ablation`: they see the stimuli and the positions of a forward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deeploc
from deeploc.core.ablation import Ablation, Edit, ForwardPass
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.plugins import load_model
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

TEXTS = [Stimulus("0", "the cat sees a dog"), Stimulus("1", "a bird"), Stimulus("2", "dog sees")]


@dataclass(frozen=True)
class ArrayFunction:
    """An edit by a function of the site and ``(stimulus, position, selected unit)``."""

    mask: UnitMask
    function: Callable[[str, np.ndarray], np.ndarray]
    key: str = "function"

    def edited(self, site: str, values: np.ndarray, _: ForwardPass) -> np.ndarray:
        return self.function(site, values)


@dataclass(frozen=True)
class AsArray:
    """An affine edit that adapters do not recognise as one."""

    affine: Ablation
    key: str = "array"

    @property
    def mask(self) -> UnitMask:
        return self.affine.mask

    def edited(self, site: str, values: np.ndarray, forward_pass: ForwardPass) -> np.ndarray:
        return self.affine.edited(site, values, forward_pass)


def first_units(layout: Layout, n: int = 3) -> UnitMask:
    """Return a mask of the first units of every site."""
    return UnitMask(layout, np.concatenate([np.arange(s.n_units) < n for s in layout.sites]))


def read(adapter: Any, layout: Layout, pool: str = "mean") -> np.ndarray:
    values = np.empty((len(TEXTS), layout.n_units))
    for batch in adapter.activations(TEXTS, layout, Readout(pool=pool, tokens="all")):
        values[batch.indices] = batch.values
    return values


def image_adapter() -> Any:
    """Return an adapter of maps (batch, unit, row, column): the length of a text is the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 1))

    def preprocess(contents: list[str | Path]) -> torch.Tensor:
        seeds = [torch.Generator().manual_seed(len(str(content))) for content in contents]
        return torch.stack([torch.rand((3, 4, 4), generator=seed) for seed in seeds])

    return deeploc.wrap(module, preprocess=preprocess, sites=["0", "2"])


@pytest.fixture(params=["text", "image", "toy"])
def adapter(request: pytest.FixtureRequest, tiny_lm: Path) -> Any:
    if request.param == "text":
        return load_model(f"hf:{tiny_lm}")
    return image_adapter() if request.param == "image" else ToyAdapter()


@pytest.mark.parametrize("with_first", [False, True])
@pytest.mark.parametrize(("gain", "shift"), [(0.0, False), (0.0, True), (0.5, True), (-2.0, False)])
def test_an_affine_edit_as_an_array_is_the_same(
    adapter: Any, gain: float, shift: bool, with_first: bool
) -> None:
    """What `Ablation.edited` computes is what adapters run on the device."""
    layout = adapter.sites.scalars()
    mask = first_units(layout)
    offset = np.linspace(-1, 1, layout.n_units) if shift else None
    first = None if offset is None or not with_first else offset[::-1].copy()
    affine = Ablation(mask, gain=gain, offset=offset, first=first)
    with adapter.ablated(affine):
        expected = read(adapter, layout)
    with adapter.ablated(AsArray(affine)):
        edited = read(adapter, layout)

    assert isinstance(affine, Edit)
    np.testing.assert_allclose(edited, expected, rtol=1e-6, atol=1e-6)


def test_an_edit_sees_stimuli_and_positions(adapter: Any) -> None:
    """Each batch comes as (stimulus, position, unit): one position is silenced, the others stay."""
    first = Layout(adapter.sites.sites[:1])
    mask = first_units(first)
    seen: list[tuple[int, ...]] = []

    def silence_first(site: str, values: np.ndarray) -> np.ndarray:
        seen.append(values.shape)
        assert site == first.sites[0].name
        new = values.copy()
        new[:, 0] = 0.0
        return new

    intact = read(adapter, first, "max"), read(adapter, first)
    with adapter.ablated(ArrayFunction(mask, silence_first)):
        edited = read(adapter, first)

    assert {shape[2] for shape in seen} == {3}
    assert sum(shape[0] for shape in seen) == len(TEXTS)
    if first.sites[0].n_positions is not None:
        assert {shape[1] for shape in seen} == {16}
    np.testing.assert_array_equal(edited[:, 3:], intact[1][:, 3:])
    assert (edited[:, :3] != intact[1][:, :3]).any()


def test_an_edit_may_swap_stimuli(adapter: Any) -> None:
    """Resampling: the first site takes the units of another stimulus of the batch."""
    if isinstance(adapter, ToyAdapter):
        pytest.skip("the toy model reads one text at a time")
    first = Layout(adapter.sites.sites[-1:])
    everything = UnitMask(first, np.ones(first.n_units, dtype=bool))
    edit = ArrayFunction(everything, lambda _, values: values[::-1])
    intact = read(adapter, first)
    with adapter.ablated(edit):
        swapped = read(adapter, first)

    if all(site.n_positions for site in first.sites):
        np.testing.assert_allclose(swapped, intact[::-1], rtol=1e-6)
    else:
        assert (swapped != intact).any()
