"""Neurons of experts and scores of routers, against mixtures computed by hand."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.pool import pooling
from deeploc.adapters._torch.read import read_batch, read_positions
from deeploc.core.ablation import Ablation, Edit
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import AdapterError
from tests.adapters.test_edits import AsArray

_SIZE = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 12,
    "moe_intermediate_size": 12,
    "num_experts_per_tok": 2,
    "vocab_size": 50,
    "pad_token_id": None,
}
_LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
_GROUPS = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 2}
_DBRX = {"n_layers": 2, "d_model": 16, "n_heads": 2, "vocab_size": 50, "max_seq_len": 32}
_DBRX_PARTS = {
    "ffn_config": {"ffn_hidden_size": 12, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 16},
    "attn_config": {"kv_n_heads": 1, "clip_qkv": 8.0, "rope_theta": 1e4},
}
GATED: dict[str, dict[str, Any]] = {
    "mixtral": {**_SIZE, "num_local_experts": 4, "head_dim": 8},
    "qwen3_moe": {**_SIZE, "num_experts": 4, "head_dim": 8},
    "olmoe": {**_SIZE, "num_experts": 4},
    "gpt_oss": {**_SIZE, "num_local_experts": 4, "head_dim": 8},
    "deepseek_v3": {**_SIZE, **_LATENT, **_GROUPS, "v_head_dim": 4, "n_routed_experts": 4},
}
"""Experts in one parameter, of which each token uses the parts of two."""
OTHERS: dict[str, dict[str, Any]] = {
    "dbrx": {**_DBRX, **_DBRX_PARTS},
    "jetmoe": {**_SIZE, "num_local_experts": 4, "kv_channels": 8},
    "llama4_text": {**_SIZE, "num_local_experts": 4, "head_dim": 8, "intermediate_size_mlp": 12},
    "nemotron_h": {**_SIZE, "n_routed_experts": 4, "layers_block_type": ["moe", "attention"]},
}
"""Experts one below the other, in layers of their own, given every token, without a gate."""
IMPLEMENTATIONS = ("eager", "batched_mm", "grouped_mm")

IDS = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(0))
VALID = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]]).bool()


@cache
def mixture_of(family: str, dtype: torch.dtype) -> tuple[Any, Layout]:
    """Return a tiny mixture of experts whose weights are nowhere all 0, and its sites."""
    config = AutoConfig.for_model(family, **(GATED | OTHERS)[family])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, dtype=dtype)
    if dtype != torch.float32:  # grouped products take no float64, and bfloat16 of 16 bytes a row
        model.set_experts_implementation("eager")
    return model, find_sites(model, None, lambda: model(input_ids=IDS[:2, :3], use_cache=False))


def mixture(
    family: str, *kinds: str, by: str = "eager", dtype: torch.dtype = torch.float32
) -> tuple[Any, Layout]:
    """Return a mixture that computes in one of the implementations, and its sites of some kinds."""
    model, layout = mixture_of(family, dtype)
    if family in GATED:
        model.set_experts_implementation(by)
    return model, Layout(tuple(site for site in layout.sites if site.kind in kinds))


@torch.no_grad()
def logits(model: Any) -> Tensor:
    out: Tensor = model(input_ids=IDS, attention_mask=VALID.long(), use_cache=False).logits
    return out


def read(model: Any, layout: Layout) -> list[dict[str, np.ndarray]]:
    """Return the activations (position, unit) of each stimulus, padding included."""
    return read_positions(model, layout, lambda: logits(model), n_stimuli=len(IDS))


def pooled(model: Any, layout: Layout) -> np.ndarray:
    """Return what is read of a batch, averaged over its tokens."""
    run = partial(model, input_ids=IDS, use_cache=False)
    return read_batch(model, layout, run, pool=pooling("mean", layout), n_stimuli=len(IDS))


def mask_of(layout: Layout, share: float = 0.4, seed: int = 0) -> UnitMask:
    """Return a random mask."""
    return UnitMask(layout, np.random.default_rng(seed).random(layout.n_units) < share)


def by_hand(family: str, experts: Any, x: Tensor, chosen: Tensor) -> Tensor:
    """Return the hidden layer (token, expert, neuron) of experts; 0 where not chosen."""
    hidden = torch.zeros(len(x), experts.num_experts, 12)
    for token, numbers in enumerate(chosen):
        for expert in numbers:
            if family == "gpt_oss":
                both = x[token] @ experts.gate_up_proj[expert] + experts.gate_up_proj_bias[expert]
                gate, up = both[0::2].clamp(max=7.0), both[1::2].clamp(-7.0, 7.0)
                hidden[token, expert] = (up + 1) * gate * torch.sigmoid(1.702 * gate)
            else:
                gate, up = (experts.gate_up_proj[expert] @ x[token]).split(12)
                hidden[token, expert] = gate * torch.sigmoid(gate) * up
    return hidden


CASES = [
    *((family, "grouped_mm") for family in GATED),
    *((family, by) for family in ("mixtral", "gpt_oss") for by in ("eager", "batched_mm")),
]


@pytest.mark.parametrize(("family", "implementation"), CASES)
@torch.no_grad()
def test_neurons_of_experts_are_those_computed_by_hand(family: str, implementation: str) -> None:
    """What is read is act(gate) * up of the experts that a token is routed to, else 0."""
    model, layout = mixture(family, "experts", by=implementation)
    given: dict[str, tuple[Tensor, ...]] = {}
    with ExitStack() as stack:
        for site in layout.sites:
            module = model.get_submodule(site.within)
            hook = module.register_forward_pre_hook(
                lambda _, args, at=site.name: given.update({at: args})
            )
            stack.callback(hook.remove)
        rows = read(model, layout)

    assert {site.n_units for site in layout.sites} == {4 * 12}
    for site in layout.sites:
        experts = model.get_submodule(site.within)
        expected = by_hand(family, experts, given[site.name][0], given[site.name][1]).flatten(1)
        actual = torch.from_numpy(np.concatenate([row[site.name] for row in rows]))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def remove(model: Any, mask: UnitMask) -> None:
    """Set to 0 what leads on from the selected neurons, in the parameter."""
    for site in mask.layout.sites:
        parameter = model.get_parameter(site.path)
        selected = torch.from_numpy(mask.at(site.name))
        if parameter.ndim == 3:
            selected = selected.view(len(parameter), -1)
            transposed = parameter.shape[1:] == (12, 16)
            parameter = parameter if transposed else parameter.transpose(1, 2)
        parameter[selected] = 0


@pytest.mark.parametrize(
    ("family", "implementation"), [*CASES, *((family, "eager") for family in OTHERS)]
)
def test_zeroed_neuron_is_a_zeroed_column_of_its_expert(family: str, implementation: str) -> None:
    """Zero ablation gives the logits, bit for bit, of a model without what leads on from it."""
    model, layout = mixture(family, "experts", by=implementation)
    mask = mask_of(layout)
    intact = logits(model)
    with ablated(Ablation(mask), model, layout, model.base_model):
        zeroed = logits(model)
        rows = read(model, layout)
    restored = logits(model)
    kept = {site.path: model.get_parameter(site.path).clone() for site in layout.sites}
    remove(model, mask)
    removed = logits(model)
    with torch.no_grad():
        for path, parameter in kept.items():
            model.get_parameter(path).copy_(parameter)

    assert torch.equal(restored, intact)
    assert torch.equal(zeroed, removed)
    assert not torch.allclose(zeroed, intact, atol=1e-3)
    for site in layout.sites:
        assert not any(row[site.name][:, mask.at(site.name)].any() for row in rows)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("family", ["gpt_oss", "jetmoe"])
def test_reading_experts_changes_nothing(family: str, implementation: str) -> None:
    """The logits of a pass that is read are those of one that is not, bit for bit."""
    model, layout = mixture(family, "experts", "router", by=implementation)
    during: list[Tensor] = []
    read_positions(model, layout, lambda: during.append(logits(model)), n_stimuli=3)

    assert torch.equal(during[0], logits(model))


@pytest.mark.parametrize("family", ["deepseek_v3", "jetmoe", "llama4_text"])
def test_experts_of_a_text_do_not_depend_on_its_batch(family: str) -> None:
    """A text that is read alone has the rows that it has beside longer ones, padded."""
    model, layout = mixture(family, "experts", "router")
    rows = read(model, layout)
    for number, (ids, valid) in enumerate(zip(IDS, VALID, strict=True)):
        own = ids[valid][None]
        (alone,) = read_positions(model, layout, lambda own=own: model(own), n_stimuli=1)
        for name, expected in alone.items():
            np.testing.assert_allclose(rows[number][name][valid], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("valid", [None, VALID], ids=["all", "padded"])
def test_pool_of_experts_is_that_of_the_dense_tensor(pool: str, valid: Tensor | None) -> None:
    """Pooling without the zeros is pooling with them."""
    model, layout = mixture("mixtral", "experts", by="grouped_mm")
    function = pooling(pool, layout)
    pooled = read_batch(
        model, layout, lambda: logits(model), pool=function, n_stimuli=3, valid=valid
    )

    dense = [np.concatenate([row[s.name] for s in layout.sites], 1) for row in read(model, layout)]
    expected = function(torch.from_numpy(np.stack(dense)), valid)
    np.testing.assert_allclose(pooled, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("with_first", [False, True])
@pytest.mark.parametrize("kind", ["experts", "router"])
def test_an_edit_of_experts_as_an_array_is_the_same(kind: str, with_first: bool) -> None:
    """An affine edit gives the same logits on the device and by way of an array."""
    model, layout = mixture("mixtral", kind, by="batched_mm")
    mask = mask_of(layout)
    rng = np.random.default_rng(1)
    offset, first = rng.normal(size=(2, mask.layout.n_units))
    affine = Ablation(mask, 0.5, offset, first if with_first else None)

    def edited(edit: Edit) -> tuple[Tensor, Any]:
        with ablated(edit, model, mask.layout, model):
            return logits(model), pooled(model, layout)

    for by_array, on_device in zip(edited(AsArray(affine)), edited(affine), strict=True):
        torch.testing.assert_close(by_array, on_device)


def test_mean_of_a_neuron_is_set_only_where_a_token_is_routed() -> None:
    """With every neuron held at 1, a row is 1 in the experts of its token and 0 in the others."""
    model, layout = mixture("gpt_oss", "experts", by="grouped_mm")
    first = layout.sites[0]
    routed = read(model, layout)
    everything = UnitMask(layout, np.ones(layout.n_units, bool))
    with ablated(Ablation(everything, 0.0, np.ones(layout.n_units)), model, layout, model):
        held = read(model, layout)

    for before, after in zip(routed, held, strict=True):
        np.testing.assert_array_equal(after[first.name], before[first.name] != 0)
        assert (after[first.name].sum(1) == 2 * 12).all()


def test_half_precision_is_edited_once() -> None:
    """In bfloat16 a scaled neuron is the rounded product, and the logits stay bfloat16."""
    model, layout = mixture("mixtral", "experts", dtype=torch.bfloat16)
    one = Layout(layout.sites[:1])
    (name,) = (site.name for site in one.sites)
    mask = UnitMask(one, np.ones(one.n_units, bool))
    before = read(model, one)[0][name]
    with ablated(Ablation(mask, 0.3), model, one, model):
        after = read(model, one)[0][name]
        assert logits(model).dtype == torch.bfloat16

    np.testing.assert_array_equal(after, torch.from_numpy(0.3 * before).bfloat16().float())


# lists of experts, and mixtures as people write them


class Expert(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(torch.relu(self.w1(x)))


class Mixture(nn.Module):
    """A router and a list of experts, each given the tokens that are routed to it."""

    def __init__(self, width: int = 8, inner: int = 5, n_experts: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(width, n_experts, bias=False)
        self.experts = nn.ModuleList(Expert(width, inner) for _ in range(n_experts))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.view(-1, x.shape[-1])
        weights, chosen = self.gate(flat).softmax(-1).topk(2)
        total = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, rank = torch.where(chosen == number)
            rows = flat[None, token].reshape(-1, x.shape[-1])
            total.index_add_(0, token, expert(rows) * weights[token, rank, None])
        return x + total.view(x.shape)


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Mixture() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def stack() -> tuple[Stack, Layout, Tensor]:
    """Return two mixtures with lists of experts, their sites and an input."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack, x = Stack().eval(), torch.randn(3, 5, 8)
    return stack, find_sites(stack, None, lambda: stack(x)), x


def kinds_of(layout: Layout) -> dict[str, str]:
    return {site.name: site.kind for site in layout.sites}


def test_experts_in_a_list_are_one_site(stack: tuple[Stack, Layout, Tensor]) -> None:
    """All experts of a list have one site: what enters the second layer of each."""
    _, layout, _ = stack

    assert kinds_of(layout)["blocks.0.experts.*.w2:input"] == "experts"
    assert kinds_of(layout)["blocks.1.gate.weight"] == "router"
    assert {s.n_units for s in layout.sites if s.kind == "experts"} == {4 * 5}


@torch.no_grad()
def test_list_of_experts_is_read_and_ablated(stack: tuple[Stack, Layout, Tensor]) -> None:
    """Zeroing a neuron is zeroing its column in the second layer of that expert."""
    net, layout, x = stack
    layout = Layout(tuple(site for site in layout.sites if site.kind == "experts"))
    mask = mask_of(layout)
    with ablated(Ablation(mask), net, layout, net):
        zeroed = net(x)
        held = read_positions(net, layout, lambda: net(x), n_stimuli=3)
    for row in held:
        assert not row[layout.sites[0].name][:, mask.at(layout.sites[0].name)].any()
    rows = read_positions(net, layout, lambda: net(x), n_stimuli=3)
    flat, block = x.view(-1, 8), net.blocks[0]
    chosen = block.gate(flat).topk(2).indices
    for token, number in ((0, 0), (7, 1), (14, 0)):
        expert = int(chosen[token, number])
        hidden = torch.relu(block.experts[expert].w1(flat[token]))
        read_there = rows[token // 5]["blocks.0.experts.*.w2:input"][token % 5]
        np.testing.assert_allclose(read_there.reshape(4, 5)[expert], hidden, rtol=1e-5)
    for mixture, site in zip(net.blocks, layout.sites, strict=True):
        for expert, own in zip(mixture.experts, mask.at(site.name).reshape(4, 5), strict=True):
            expert.w2.weight[:, torch.from_numpy(own)] = 0
    assert torch.equal(zeroed, net(x))


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss", "deepseek_v3", *OTHERS])
def test_router_decides_which_experts_are_used(family: str) -> None:
    """With the score of one expert held far down, no token is routed to it."""
    model, layout = mixture(family, "experts", "router")
    beside = [s for s in layout.sites if s.kind == "router" and "attention" not in s.path]
    selected = np.zeros(layout.n_units, bool)
    for site in beside:
        selected[layout.slices[site.name].start + 1] = True
    low = Ablation(UnitMask(layout, selected), 0.0, np.full(layout.n_units, -1e4))
    with ablated(low, model, layout, model.base_model):
        rows = read(model, layout)

    experts = [site for site in layout.sites if site.kind == "experts"]
    assert len(beside) == len(experts)
    for site in experts:
        used = np.concatenate([row[site.name] for row in rows]).reshape(21, 4, 12).any(axis=(0, 2))
        assert not used[1]
        assert used.sum() > 1


def test_router_scores_are_the_logits() -> None:
    """What is read of a router is the product of its weight with what it is given."""
    model, layout = mixture("qwen3_moe", "router", by="grouped_mm")
    logged: list[Tensor] = []
    gate = model.get_submodule(layout.sites[0].within)
    hook = gate.register_forward_hook(lambda *call: logged.append(call[2][0]))
    rows = read(model, layout)
    hook.remove()

    actual = np.concatenate([row[layout.sites[0].name] for row in rows])
    np.testing.assert_array_equal(actual, logged[0])


# what goes wrong


def test_hooks_of_experts_are_gone_after_an_exception() -> None:
    """Whatever happens inside, the forward of every module is its own afterwards."""
    model, layout = mixture("mixtral", "experts", "router", by="grouped_mm")
    mask = mask_of(layout)
    with (
        pytest.raises(RuntimeError, match="mine"),
        ablated(Ablation(mask), model, mask.layout, model),
    ):
        logits(model)
        raise RuntimeError("mine")
    with (
        pytest.raises(IndexError),
        ablated(Ablation(mask), model, mask.layout, model),
    ):
        model(torch.full((1, 3), 10**6))

    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.overrides._get_current_function_mode() is None


def test_expert_without_tokens_is_no_error() -> None:
    """A neuron of an expert that no token of a pass is routed to is not edited, and that is all."""
    model, layout = mixture("mixtral", "experts")
    (row,) = read_positions(model, layout, lambda: model(IDS[:1, :1]), n_stimuli=1)
    unused = np.concatenate(
        [np.repeat(~row[s.name].reshape(4, 12).any(1), 12) for s in layout.sites]
    )
    with torch.no_grad():
        intact = model(IDS[:1, :1]).logits
        with ablated(Ablation(UnitMask(layout, unused)), model, layout, model):
            ablated_logits = model(IDS[:1, :1]).logits

    assert unused.any()
    assert torch.equal(intact, ablated_logits)


def test_experts_that_are_bypassed_are_an_error() -> None:
    """A pass in which another forward stands in for that of the experts is refused."""
    model, layout = mixture("mixtral", "experts")
    mask = mask_of(layout)
    experts = model.get_submodule(mask.layout.sites[0].within)
    with (
        pytest.raises(AdapterError, match=r"layers.0.mlp.experts.* was replaced"),
        ablated(Ablation(mask), model, mask.layout, model),
    ):
        try:
            experts.forward = lambda x, *_: x
            logits(model)
        finally:
            del experts.forward


class Unfollowed(nn.Module):
    """Experts that are multiplied by a function that is no known product."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.ones(2, 4, 6))
        self.down = nn.Parameter(torch.ones(2, 6, 4))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.function(x, self.up[0]), self.down[0])


def test_parameter_that_is_not_understood_is_an_error() -> None:
    """A site at a parameter that an unknown function takes is refused, not passed over."""
    net = nn.Sequential(Unfollowed(lambda x, w: torch.einsum("bpi,io->bpo", x, w)))
    layout = Layout((Site("0.down", "experts", 12, "input", within="0"),))

    with pytest.raises(AdapterError, match="`einsum` takes their parameter"):
        read_positions(net, layout, lambda: net(torch.ones(1, 2, 4)), n_stimuli=1)
