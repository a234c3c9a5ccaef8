"""Kinds of site are told by what modules do: heads, attention, state, MLPs, layers of any class."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from transformers import MambaConfig, MambaForCausalLM

import deeploc
from deeploc.adapters._sites.discover import discover
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters.timm import load as load_timm
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.modes import Modes
from deeploc.core.naming import missing_kinds
from deeploc.core.position_classes import PositionMoments
from deeploc.core.replacing import Donors
from deeploc.core.units import VECTORS, Layout, StatMap, UnitMask
from deeploc.errors import AdapterError, MaskError
from deeploc.stimuli import Stimulus

from .conftest import SENTENCES, inputs_of, model_of, shaken, texts, tokenizer_of, values_of

STIMULI = texts(SENTENCES[2:5])


def adapter_of(family: str, **changes: Any) -> HFAdapter:
    return HFAdapter(model_of(family, **changes), tokenizer_of(bos=True), family)


@pytest.fixture(scope="module")
def llama() -> HFAdapter:
    return adapter_of("llama")


def named(layout: Layout) -> list[tuple[str, str, int]]:
    return [(site.kind, site.name, site.n_units) for site in layout.sites]


def taken(module: nn.Module, path: str, run: Callable[[], Any]) -> Tensor:
    """Return what plain hooks see enter a module, (stimulus, position, scalar)."""
    seen: list[Tensor] = []
    handle = module.get_submodule(path).register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        run()
    handle.remove()
    return seen[0]


# heads


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_heads_of_texts_are_slices_by_hand(family: str) -> None:
    """Two heads of eight scalars, read as norms at the input of the output projection."""
    adapter = adapter_of(family)
    heads = adapter.sites.choose(["heads"])
    values = values_of(adapter, STIMULI, heads, tokens="all", pool="mean")
    projection = {"gpt2": "attn.c_proj:input", "llama": "self_attn.o_proj:input"}[family]

    assert [(s.n_units, s.width, s.name.endswith(projection)) for s in heads.sites] == [
        (2, 8, True)
    ] * 2
    for row, stimulus in zip(values, STIMULI, strict=True):
        ids = torch.tensor([adapter.tokenizer(stimulus.content)["input_ids"]])
        for number, site in enumerate(heads.sites):
            x = taken(adapter.model, site.path, lambda ids=ids: adapter.model(ids))[0]
            norms = torch.stack([x[:, :8].norm(dim=1), x[:, 8:].norm(dim=1)], dim=1).mean(0)

            np.testing.assert_allclose(row[2 * number :][:2], norms, rtol=1e-4)


def test_heads_of_a_vit_are_slices_by_hand(image_files: list[Stimulus]) -> None:
    """As many heads as timm says, each the norm of its part of the projection's input."""
    adapter = load_timm("test_vit", ModelOptions(untrained=True))
    module = shaken(adapter.module)
    (site,) = adapter.sites.choose(["blocks.1.attn.proj:input"]).sites
    images = inputs_of(image_files, create_transform(**resolve_model_data_config(module)))
    x = taken(module, "blocks.1.attn.proj", lambda: module(images))
    n = module.blocks[1].attn.num_heads
    norms = x.reshape(len(x), x.shape[1], n, -1).norm(dim=-1).mean(dim=1)

    assert (site.kind, site.n_units, site.width) == ("heads", n, x.shape[-1] // n)
    values = values_of(adapter, image_files, Layout((site,)), pool="mean")
    np.testing.assert_allclose(values, norms, rtol=2e-4)


@pytest.mark.parametrize(("mode", "gain"), [("zero", 0.0), ("scale:0.5", 0.5)])
def test_an_ablated_head_is_as_good_as_cut(llama: HFAdapter, mode: str, gain: float) -> None:
    """Zero and scale act on all scalars of a head: as weights of the output projection do."""
    heads = llama.sites.choose(["heads"])
    mask = UnitMask(heads, np.array([False, True, False, False]))
    cut = model_of("llama")
    cut.model.layers[0].self_attn.o_proj.weight.data[:, 8:16] *= gain
    ids = torch.tensor([[0, 5, 9, 30]])
    edit = Modes(statistics(heads)).edit(mode, mask)
    with torch.no_grad(), llama.ablated(edit):
        edited = llama.model(ids).logits
        expected = cut(ids).logits

    torch.testing.assert_close(edited, expected, rtol=1e-4, atol=1e-4)


def statistics(layout: Layout) -> StatMap:
    return StatMap(layout, **{name: np.ones(layout.n_units) for name in VECTORS})


def test_modes_put_a_value_at_every_scalar_of_a_head(llama: HFAdapter) -> None:
    """Mean, noise and resample hold the scalars of the head, and leave the other head alone."""
    heads = Layout(llama.sites.choose(["heads"]).sites[:1])
    scalars = heads.scalars()
    means = np.arange(16.0)
    moments = PositionMoments(scalars, means, np.ones(16), means, np.ones(16))
    donor = {scalars.sites[0].name: np.full((3, 16), 7.0)}
    modes = Modes(statistics(heads), lambda: moments, lambda: Donors(scalars, [donor, donor], ""))
    mask = UnitMask(heads, np.array([False, True]))
    intact = values_of(llama, STIMULI, scalars, tokens="all")
    seen = {}
    for mode in ("mean", "noise", "resample"):
        with llama.ablated(modes.edit(mode, mask)):
            seen[mode] = values_of(llama, STIMULI, scalars, tokens="all")

        np.testing.assert_array_equal(seen[mode][:, :8], intact[:, :8])
    np.testing.assert_allclose(seen["mean"][:, 8:], np.tile(means[8:], (3, 1)))
    np.testing.assert_allclose(seen["resample"][:, 8:], 7.0)
    assert len(np.unique(seen["noise"][:, 8:])) == 24


def test_a_number_is_no_offset_of_a_head(llama: HFAdapter) -> None:
    """The mean norm of a head is never written into its vector."""
    heads = llama.sites.choose(["heads"])
    held = Ablation(UnitMask(heads, np.ones(4, dtype=bool)), offset=np.ones(4))
    with pytest.raises(MaskError, match=r"a vector of 8 scalars, and one number says nothing"):
        llama.ablated(held)


# modules by path


def test_modules_by_glob_are_read_and_ablated(llama: HFAdapter) -> None:
    """Mixed with kinds; what is no discovered site has its path with stars for numbers as kind."""
    queries, down = "model.layers.*.self_attn.q_proj", "model.layers.*.mlp.down_proj:input"
    layout = llama.named(["heads", queries, down])
    only = Layout(layout.sites[2:4])
    mask = UnitMask(only, np.arange(only.n_units) % 2 == 0)
    intact = values_of(llama, STIMULI, layout)
    with llama.ablated(Ablation(mask)):
        ablated = values_of(llama, STIMULI, layout)

    assert layout.kinds == ("heads", queries, "mlp-neurons")
    assert named(layout)[2:] == [
        (queries, "model.layers.0.self_attn.q_proj", 16),
        (queries, "model.layers.1.self_attn.q_proj", 16),
        ("mlp-neurons", "model.layers.0.mlp.down_proj:input", 24),
        ("mlp-neurons", "model.layers.1.mlp.down_proj:input", 24),
    ]
    assert not ablated[:, 4:36:2].any()
    np.testing.assert_array_equal(ablated[:, 5:20:2], intact[:, 5:20:2])
    ids = torch.tensor([llama.tokenizer(STIMULI[0].content)["input_ids"]])
    seen: list[Tensor] = []
    projection = llama.model.model.layers[0].self_attn.q_proj
    handle = projection.register_forward_hook(lambda *called: seen.append(called[-1]))
    llama.model(ids)
    handle.remove()
    np.testing.assert_allclose(intact[0, 4:20], seen[0][0, -1].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("model.layers.*.self_attn.q_prj", "model.layers.*.self_attn.q_proj"),
        ("atention", "attention"),
        ("model.layers.9.mlp", "model.layers.*.mlp"),
    ],
)
def test_a_pattern_without_a_hit_names_the_nearest(
    llama: HFAdapter, wanted: str, near: str
) -> None:
    """A path, a kind and a glob are errors of one line."""
    with pytest.raises(AdapterError) as error:
        llama.named(["block", wanted])

    assert f"no site or module {wanted!r}; did you mean {near!r}?" in str(error.value)


def test_missing_kinds_are_passed_over_and_told() -> None:
    """A mixture of experts has no MLP neurons: blocks are read; alone these are an error."""
    sites = adapter_of("mixtral").sites

    assert sites.choose(["mlp-neurons", "block"]).kinds == ("block",)
    assert missing_kinds(sites, ["mlp-neurons", "block"]) == [
        "this model has no mlp-neurons, which the contrast asks for beside others; it has "
        "embedding, heads, attention, router, experts, mlp, block"
    ]
    with pytest.raises(AdapterError, match=r"no site of kind or name 'mlp-neurons'; it has the"):
        sites.choose(["mlp-neurons"])


# what parts are


def test_shared_experts_are_no_dense_mlp() -> None:
    """One block has an MLP, the other a mixture with an expert that every token uses."""
    layout = adapter_of("qwen2_moe").sites

    assert named(layout.choose(["mlp-neurons", "shared-expert-neurons"])) == [
        ("mlp-neurons", "model.layers.0.mlp.down_proj:input", 24),
        ("shared-expert-neurons", "model.layers.1.mlp.shared_expert.down_proj:input", 12),
    ]


def test_a_state_space_mixer_is_a_state() -> None:
    """Mamba has states and no MLP: its projections to an inner width and back mix positions."""
    config = MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=330, state_size=4)
    layout = HFAdapter(MambaForCausalLM(config).eval(), tokenizer_of(), "mamba").sites

    assert layout.kinds == ("embedding", "state", "block")
    assert [site.path for site in layout.choose(["state"]).sites] == [
        "backbone.layers.0.mixer",
        "backbone.layers.1.mixer",
    ]


def test_the_embedding_is_what_tokens_become(llama: HFAdapter) -> None:
    """It reads as the row of the last token."""
    last = [llama.tokenizer(stimulus.content)["input_ids"][-1] for stimulus in STIMULI]
    values = values_of(llama, STIMULI, llama.sites.choose(["embedding"]), tokens="all")

    np.testing.assert_array_equal(values, llama.model.model.embed_tokens.weight[last].detach())


class SSMixer(nn.Module):
    """An MLP with a misleading name; its layers have no matrix of weights."""

    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.wide, self.back = layer(8, 12), layer(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(torch.relu(self.wide(x)))


class Mlp(nn.Module):
    """Attention with a misleading name."""

    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.all, self.out = layer(8, 24), layer(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.all(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class AttentionLayer(nn.Module):
    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.mlp, self.attention_mixer = Mlp(layer), SSMixer(layer)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp(self.norm(x))
        return x + self.attention_mixer(self.norm(x))


class Packed(nn.Module):
    """A linear layer that keeps its weights as bytes in one vector."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        weight = torch.randn(n_out, n_in)
        self.scale = float(weight.abs().max()) / 127
        self.shape = weight.shape
        self.register_buffer("bytes", (weight / self.scale).round().to(torch.int8).flatten())

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.bytes.float() * self.scale).reshape(self.shape).T


@pytest.mark.parametrize("n_texts", [1, 2])
@pytest.mark.parametrize("layer", [nn.Linear, Packed])
def test_parts_are_told_by_what_they_do(layer: Any, n_texts: int) -> None:
    """Neither the names nor the classes of modules and layers matter, nor the number of texts."""
    torch.manual_seed(0)
    net = nn.Sequential(AttentionLayer(layer), AttentionLayer(layer)).eval()
    inputs = torch.randn(n_texts, 5, 8)

    assert named(discover(net, lambda: net(inputs)))[:5] == [
        ("heads", "0.mlp.out:input", 2),
        ("attention", "0.mlp", 8),
        ("mlp-neurons", "0.attention_mixer.back:input", 12),
        ("mlp", "0.attention_mixer", 8),
        ("block", "0", 8),
    ]


def test_dynamic_int8_has_the_sites_of_the_float_model() -> None:
    """Its linear layers have neither parameters nor a weight that is a tensor."""
    model = model_of("llama", scale=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
        sites = HFAdapter(quantised, tokenizer_of(), "int8").sites

    assert named(sites) == named(adapter_of("llama", scale=1.0).sites)


def test_the_number_of_passes_at_load_is_two() -> None:
    """Discovery costs one pass to trace and one to see what mixes positions."""
    net = nn.Sequential(AttentionLayer(nn.Linear), AttentionLayer(nn.Linear)).eval()
    calls: list[int] = []

    def run() -> Tensor:
        calls.append(1)
        return net(torch.randn(2, 5, 8))

    discover(net, run)

    assert len(calls) == 2


def test_named_modules_of_a_network_of_ones_own() -> None:
    """`wrap` resolves paths, too."""
    net = nn.Sequential(AttentionLayer(nn.Linear), AttentionLayer(nn.Linear)).eval()
    adapter: Any = deeploc.wrap(net, preprocess=_vectors)

    assert named(adapter.named(["*.norm", "block"])) == [
        *(("*.norm", f"0.norm#{call}", 8) for call in (1, 2)),
        *(("*.norm", f"1.norm#{call}", 8) for call in (1, 2)),
        ("block", "0", 8),
        ("block", "1", 8),
    ]


def _vectors(contents: Sequence[Any]) -> Tensor:
    rows = [torch.tensor([float(ord(c) % 7) for c in f"{text}abcdefgh"[:8]]) for text in contents]
    return torch.stack(rows)[:, None] * torch.ones(5, 1)
