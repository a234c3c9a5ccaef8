"""Gradients at neurons of experts and scores of routers, against finite differences."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.gradient import Loss, attribute_batch
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask

from .conftest import LISTS, SENTENCES, hooks_of, model_of, texts, tokenizer_of
from .test_attribution import all_of, by_example, only
from .test_experts import IDS, VALID, mixture, read, stack

__all__ = ["stack"]  # a fixture

STEP = 1e-4
"""Of central differences."""

CASES = [
    *((family, "eager") for family in ("mixtral", "qwen3_moe", "deepseek_v3", "dbrx", "jetmoe")),
    *((family, "batched_mm") for family in ("mixtral", "deepseek_v3")),
]


class Double(TorchFunctionMode):
    """Computes in float64 what a model would in float32: normalization and routing."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = {key: _wide(value) for key, value in (kwargs or {}).items()}
        if getattr(func, "__name__", "") == "float":
            return args[0].double()
        return func(*map(_wide, args), **kwargs)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def losses(model: Any) -> Tensor:
    """Return the loss of every text, summed over its tokens."""
    exact = Double() if next(model.parameters()).dtype == torch.float64 else nullcontext()
    with exact:
        output = model(input_ids=IDS, attention_mask=VALID.long(), use_cache=False)
    logprobs = output.logits[:, :-1].log_softmax(-1).gather(-1, IDS[:, 1:, None])[..., 0]
    return -torch.where(VALID[:, 1:], logprobs, 0.0).sum(dim=1)


def attributed(
    model: Any, ablation: Ablation, layout: Layout, **more: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return effects, gradients and losses of the texts."""
    return attribute_batch(
        model, layout, ablation, lambda: losses(model), n_stimuli=len(IDS), valid=VALID, **more
    )


@torch.no_grad()
def under(model: Any, layout: Layout, ablation: Ablation) -> np.ndarray:
    """Return the losses while units are edited."""
    with ablated(ablation, model, layout, model):
        return losses(model).numpy()


def slope(model: Any, layout: Layout, unit: int) -> np.ndarray:
    """Return -d loss / d gain of a unit at gain 1: the central difference."""
    above, below = (under(model, layout, only(layout, unit, 1 + s)) for s in (STEP, -STEP))
    return (below - above) / (2 * STEP)


@pytest.mark.parametrize(("family", "implementation"), CASES)
def test_effects_equal_finite_differences_of_the_ablation(family: str, implementation: str) -> None:
    """-activation x gradient at the rows is the derivative of the loss by the gain of the edit."""
    model, layout = mixture(family, "experts", "router", by=implementation, dtype=torch.float64)
    hooks, forwards = hooks_of(model), [vars(m).get("forward") for m in model.modules()]
    effects, _, found = attributed(model, all_of(layout), layout)
    assert hooks_of(model) == hooks
    assert [vars(m).get("forward") for m in model.modules()] == forwards
    np.testing.assert_allclose(found, losses(model).detach().numpy(), rtol=1e-6)
    rng = np.random.default_rng(0)
    for kind in layout.kinds:
        (units,) = np.nonzero(layout.of_kind(kind) & (effects != 0).any(axis=0))
        chosen = rng.choice(units, min(3, len(units)), replace=False)
        expected = np.stack([slope(model, layout, unit) for unit in chosen], axis=1)
        largest = np.abs(expected).max()
        assert largest > 1e-3
        np.testing.assert_allclose(effects[:, chosen], expected, rtol=1e-3, atol=1e-6 * largest)


@pytest.mark.parametrize("implementation", ["batched_mm", "grouped_mm"])
@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_implementations_of_experts_have_the_same_gradients(
    family: str, implementation: str
) -> None:
    """Experts one after the other, in a batch and in a grouped product agree in float32."""
    expected = attributed(*everywhere(family, "eager"))
    found = attributed(*everywhere(family, implementation))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def everywhere(family: str, implementation: str) -> tuple[Any, Ablation, Layout]:
    """Return a mixture, zero ablation of all its experts and routers, and these sites."""
    model, layout = mixture(family, "experts", "router", by=implementation)
    return model, all_of(layout), layout


def test_units_of_experts_that_no_token_is_routed_to_count_0() -> None:
    """Effects and gradients are 0 for the texts in which a unit reads 0, and only for these."""
    model, layout = mixture("mixtral", "experts", dtype=torch.float64)
    rows = read(model, layout)
    effects, gradients, _ = attributed(model, all_of(layout), layout)
    seen = np.array(
        [
            np.concatenate([row[site.name][own].any(axis=0) for site in layout.sites])
            for row, own in zip(rows, VALID.numpy(), strict=True)
        ]
    )
    assert 0 < seen.mean() < 1
    assert not effects[~seen].any()
    assert not gradients[~seen].any()
    scored = gradients[seen] > 0  # the last token of a text predicts nothing
    assert scored.mean() > 0.5
    assert (effects[seen][scored] != 0).all()


@pytest.mark.parametrize("family", ["mixtral", "llama4_text"])
def test_integrated_steps_add_up_to_the_ablation_of_the_site(family: str) -> None:
    """The effects at the last experts, after which none is chosen, sum to their ablation's."""
    model, layout = mixture(family, "experts", dtype=torch.float64)
    last = Layout(layout.sites[-1:])
    effects, _, intact = attributed(model, all_of(last), last, steps=16)
    one = attributed(model, all_of(last), last)[0].sum(axis=1)
    change = under(model, last, all_of(last)) - intact
    largest = np.abs(change).max()
    np.testing.assert_allclose(effects.sum(axis=1), change, rtol=1e-3, atol=1e-3 * largest)
    assert np.abs(one - change).max() > 0.02 * largest


def test_experts_in_a_list_have_gradients(stack: tuple[Any, Layout, Tensor]) -> None:
    """Experts that are modules of a list are traced at the layer that is edited in each."""
    model, sites, x = stack
    model, x = model.double(), x.double()
    layout = Layout(tuple(site for site in sites.sites if site.kind in ("experts", "router")))

    def loss() -> Tensor:
        output: Tensor = model(x).pow(2).sum(dim=(1, 2))
        return output

    effects, _, _ = attribute_batch(model, layout, all_of(layout), loss, n_stimuli=len(x))
    assert effects.any(axis=0).sum() > 20
    for unit in np.flatnonzero(effects.any(axis=0))[::7]:
        above, below = (edited(model, layout, unit, 1 + s, loss) for s in (STEP, -STEP))
        expected = (below - above) / (2 * STEP)
        np.testing.assert_allclose(effects[:, unit], expected, rtol=1e-3, atol=1e-6)
    assert {layout.sites[0].kind, layout.sites[-1].kind} == {"experts", "router"}


@torch.no_grad()
def edited(model: Any, layout: Layout, unit: int, gain: float, loss: Loss) -> np.ndarray:
    """Return the losses while one unit is multiplied."""
    with ablated(only(layout, unit, gain), model, layout, model):
        return loss().numpy()


def test_means_are_put_in_place_of_the_rows_that_there_are() -> None:
    """The effect of mean ablation is (mean - activation) x gradient, at the routed tokens only."""
    model, layout = mixture("mixtral", "experts", dtype=torch.float64)
    offset = np.random.default_rng(1).normal(size=layout.n_units)
    full = UnitMask(layout, np.ones(layout.n_units, dtype=bool))
    ones = np.ones(layout.n_units)
    zero, mean, added = (
        attributed(model, edit, layout)[0]
        for edit in (
            Ablation(full),
            Ablation(full, offset=offset),
            Ablation(full, gain=1, offset=ones),
        )
    )
    np.testing.assert_allclose(mean, zero + offset * added, rtol=1e-9, atol=1e-12)


def test_gradient_of_one_position_is_the_size_of_its_derivative() -> None:
    """Where a text has one token, the mean over positions is |what adding 1 does| itself."""
    model, layout = mixture("mixtral", "experts", "router", dtype=torch.float64)
    full = UnitMask(layout, np.ones(layout.n_units, dtype=bool))

    def loss() -> Tensor:
        logits = model(input_ids=IDS[:, :1], use_cache=False).logits[:, 0]
        return -logits.log_softmax(-1).gather(-1, IDS[:, 1:2])[:, 0]

    added = Ablation(full, gain=1, offset=np.ones(layout.n_units))
    effects, gradients, _ = attribute_batch(model, layout, added, loss, n_stimuli=len(IDS))
    assert gradients.any()
    np.testing.assert_allclose(gradients, np.abs(effects), rtol=1e-12)


def test_neighbours_and_padding_change_nothing() -> None:
    """Texts of many lengths in one pass have the effects and gradients that they have alone."""
    model = model_of("mixtral", scale=2.0)
    together, alone = (
        HFAdapter(model, tokenizer_of(), "mixtral", ModelOptions(batch_size=n)) for n in (8, 1)
    )
    layout = together.sites.choose(["experts", "router"])
    examples = texts([*SENTENCES, *LISTS[:2]])
    a, b = (
        by_example(adapter.attributions(examples, all_of(layout), Readout()), 8, layout.n_units)
        for adapter in (together, alone)
    )
    for first, second in zip(a, b, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(second).max())
