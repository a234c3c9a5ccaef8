"""What every architecture must do, checked against transformers itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import TextRequest
from deeploc.core.units import UnitMask

from .conftest import (
    FAMILIES,
    SENTENCES,
    WITHOUT_DENSE_MLP,
    hooks_of,
    model_of,
    texts,
    tokenizer_of,
    values_of,
)

Make = Callable[..., HFAdapter]
TEXTS = SENTENCES[2:5]

families = pytest.mark.parametrize("family", FAMILIES)
both_kinds = pytest.mark.parametrize(
    ("family", "kind"),
    [(f, "block") for f in FAMILIES]
    + [(f, "mlp-neurons") for f in FAMILIES if f not in WITHOUT_DENSE_MLP],
)


@pytest.fixture(scope="module")
def adapters() -> dict[str, HFAdapter]:
    return {}


@pytest.fixture
def adapter(family: str, adapters: dict[str, HFAdapter]) -> HFAdapter:
    if family not in adapters:
        adapters[family] = HFAdapter(model_of(family), tokenizer_of(bos=True), family)
    return adapters[family]


def ids_of(adapter: HFAdapter, text: str) -> Tensor:
    return torch.tensor([adapter.tokenizer(text)["input_ids"]])


@contextmanager
def tapped(adapter: HFAdapter, kind: str) -> Iterator[list[Tensor]]:
    """Collect what plain torch hooks see at the sites of a kind."""
    seen: list[Tensor] = []

    def after(_module: Any, _args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    def before(_module: Any, args: Any) -> None:
        seen.append(args[0])

    handles = []
    for site in adapter.sites.choose([kind]).sites:
        module = adapter.model.get_submodule(site.path)
        register = module.register_forward_hook if site.tap == "output" else None
        handles.append(register(after) if register else module.register_forward_pre_hook(before))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def by_hand(adapter: HFAdapter, kind: str, text: str) -> np.ndarray:
    """Return (position, unit) over all sites of a kind, one text at a time."""
    with tapped(adapter, kind) as seen:
        adapter.model(ids_of(adapter, text))
    return torch.cat([x.reshape(-1, x.shape[-1]) for x in seen], dim=1).numpy()


def held(adapter: HFAdapter, kind: str, value: float | None) -> Ablation:
    """Return an ablation of every third unit of a kind; ``None`` is zero ablation."""
    layout = adapter.sites.choose([kind])
    mask = UnitMask(layout, np.arange(layout.n_units) % 3 == 1)
    return Ablation(mask, offset=None if value is None else np.full(layout.n_units, value))


@families
def test_sites_are_discovered(adapter: HFAdapter, family: str) -> None:
    """Two blocks of the hidden size; each with a dense MLP has its hidden layer before it."""
    layout = adapter.sites
    hidden = adapter.model.config.hidden_size
    widths = [site.n_units for site in layout.choose(["block"]).sites]

    assert widths == [hidden, hidden]
    assert ("mlp-neurons" in layout.kinds) == (family not in WITHOUT_DENSE_MLP)
    for site in layout.sites:
        if site.kind == "mlp-neurons":
            down = adapter.model.get_submodule(site.path)
            assert sorted(down.weight.shape) == sorted((hidden, site.n_units))
            assert "attn" not in site.path
            assert "attention" not in site.path


@families
def test_blocks_are_transformers_hidden_states(adapter: HFAdapter) -> None:
    """What is read at a block is what transformers calls its hidden state."""
    values = values_of(adapter, texts(TEXTS), adapter.sites.choose(["block"]), tokens="all")
    for row, text in zip(values, TEXTS, strict=True):
        with torch.no_grad():
            states = adapter.model(ids_of(adapter, text), output_hidden_states=True).hidden_states
        first = states[1][0, -1].numpy()  # the last of them comes after the final norm

        np.testing.assert_allclose(row[: len(first)], first, rtol=1e-4, atol=1e-4)


@both_kinds
@pytest.mark.parametrize("pool", ["last", "mean"])
def test_reads_what_plain_hooks_see(adapter: HFAdapter, kind: str, pool: str) -> None:
    """Batched and padded, each site reads as it does in a pass of one text without padding."""
    layout = adapter.sites.choose([kind])
    values = values_of(adapter, texts(SENTENCES), layout, tokens="all", pool=pool)
    pools = {"last": lambda x: x[-1], "mean": lambda x: x.mean(0)}
    expected = np.stack([pools[pool](by_hand(adapter, kind, text)) for text in SENTENCES])

    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=2e-4)


@both_kinds
@pytest.mark.parametrize("value", [None, 1.5])
def test_ablated_units_hold_their_value_everywhere(
    adapter: HFAdapter, kind: str, value: float | None
) -> None:
    """Selected units have the offset at every position, the first site's others keep their bits."""
    ablation = held(adapter, kind, value)
    intact, before = by_hand(adapter, kind, TEXTS[0]), hooks_of(adapter.model)
    with adapter.ablated(ablation):
        edited = by_hand(adapter, kind, TEXTS[0])
    first, *later = (site.n_units for site in ablation.mask.layout.sites)
    selected = ablation.mask.selected

    assert (edited[:, selected] == (value or 0.0)).all()
    np.testing.assert_array_equal(
        edited[:, :first][:, ~selected[:first]], intact[:, :first][:, ~selected[:first]]
    )
    changed = edited[:, first:] != intact[:, first:]
    assert changed[:, ~selected[first:]].any() == bool(later)
    np.testing.assert_array_equal(by_hand(adapter, kind, TEXTS[0]), intact)
    assert hooks_of(adapter.model) == before


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in WITHOUT_DENSE_MLP])
def test_silenced_neurons_are_as_good_as_cut(adapter: HFAdapter, family: str) -> None:
    """Zero ablation of MLP neurons equals a model whose weights from them are zero."""
    ablation = held(adapter, "mlp-neurons", None)
    cut = model_of(family)
    for site in ablation.mask.layout.sites:
        selected = torch.from_numpy(ablation.mask.at(site.name))
        weight = cut.get_submodule(site.path).weight.data
        conv1d = type(cut.get_submodule(site.path)).__name__ == "Conv1D"  # stored transposed
        (weight if conv1d else weight.T)[selected] = 0
    ids = ids_of(adapter, TEXTS[0])
    with torch.no_grad(), adapter.ablated(ablation):
        silenced = adapter.model(ids).logits
        expected = cut(ids).logits

    torch.testing.assert_close(silenced, expected, rtol=1e-4, atol=1e-4)


@families
def test_score_is_the_models_own_loss(adapter: HFAdapter) -> None:
    """The log-probability of a text is the loss that transformers computes, summed."""
    scores = adapter.score([TextRequest("", text) for text in SENTENCES])
    for score, text in zip(scores, SENTENCES, strict=True):
        ids = ids_of(adapter, text)
        with torch.no_grad():
            loss = float(adapter.model(ids, labels=ids).loss)

        assert score.n_tokens == ids.shape[1] - 1
        assert score.logprob == pytest.approx(-loss * score.n_tokens, rel=1e-4)
