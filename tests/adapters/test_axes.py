"""Every axis of a site is what it is taken for, also in tensors unlike those of GPT-2."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeploc.adapters._sites.axes import TextProbe, n_units, possible_axes, settled
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._text.causal import CausalLM
from deeploc.adapters._text.context import PositionTables, n_embedded
from deeploc.adapters.module import wrap
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import AdapterError

from .conftest import LISTS, SENTENCES, hooks_of, model_of, texts, tokenizer_of, values_of
from .test_hook_every_pass import Block

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from tiny_models import tiny_model

TEXTS = [*SENTENCES[2:5], *LISTS[1:5]]

Unfold = Callable[[Tensor], Tensor]

# what one text alone shows at a block -> (position, unit)
UNFOLD: dict[str, Unfold] = {
    "gemma3n_text": lambda x: x[:, 0].movedim(0, 1).flatten(1),  # (stream, 1, position, unit)
    "deepseek_v4": lambda x: x[0].flatten(1),  # (1, position, stream, unit)
    "prophetnet": lambda x: x[0].unflatten(0, (3, -1)).movedim(0, 1).flatten(1),  # (1, 3 position,)
}
STREAMS = ["gemma3n_text", "deepseek_v4", "prophetnet"]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {}


@pytest.fixture
def tiny(models: dict[str, Any]) -> Callable[..., HFAdapter]:
    """Return a function that makes an adapter around a tiny model of a type."""

    def make(kind: str, sites: Sequence[str] | None = None, **options: Any) -> HFAdapter:
        if kind not in models:
            models[kind] = tiny_model(kind)
        return HFAdapter(models[kind], tokenizer_of(), kind, ModelOptions(**options), sites)

    return make


@contextmanager
def outputs_of(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect with plain torch hooks what modules return, call by call."""
    seen: dict[str, list[Tensor]] = {path: [] for path in paths}

    def hook(path: str) -> Any:
        def keep(_module: Any, _args: Any, output: Any) -> None:
            seen[path].append(output[0] if isinstance(output, tuple) else output)

        return model.get_submodule(path).register_forward_hook(keep)

    handles = [hook(path) for path in seen]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def by_hand(adapter: HFAdapter, text: str, paths: Sequence[str]) -> dict[str, list[Tensor]]:
    """Return what the modules return when one text is shown alone."""
    ids = torch.tensor([adapter.tokenizer(text)["input_ids"]])
    with outputs_of(adapter.model, paths) as seen:
        adapter._lm.trunk(ids)
    return seen


def blocks_of(adapter: HFAdapter) -> list[Site]:
    return list(adapter.sites.choose(["block"]).sites)


def at_every_token(adapter: HFAdapter) -> list[dict[str, np.ndarray]]:
    rows = dict(adapter.positions(texts(TEXTS), adapter.sites, Readout(tokens="all")))
    return [rows[number] for number in range(len(TEXTS))]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("batch_size", [2, 4])
def test_streams_are_read_text_by_text(
    kind: str, batch_size: int, tiny: Callable[..., HFAdapter]
) -> None:
    """Whatever a batch holds, a text reads at every token what plain hooks see of it alone."""
    adapter = tiny(kind, batch_size=batch_size)
    paths = [site.path for site in blocks_of(adapter)]
    assert len(paths) == 4
    for text, row in zip(TEXTS, at_every_token(adapter), strict=True):
        alone = by_hand(adapter, text, paths)
        for path in paths:
            expected = UNFOLD[kind](alone[path][0]).numpy()
            scale = np.abs(expected).max()
            np.testing.assert_allclose(row[path], expected, rtol=0, atol=1e-4 * scale)


def test_heads_in_groups_are_slices_by_hand(tiny: Callable[..., HFAdapter]) -> None:
    """Heads that are projected in groups are read one by one, in their order."""
    adapter = tiny("deepseek_v4")
    site = adapter.sites.choose(["heads"]).sites[0]
    taken: list[Tensor] = []
    projection = adapter.model.get_submodule(site.path)
    handle = projection.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    rows = dict(adapter.positions(texts(TEXTS[:1]), Layout((site,)), Readout(tokens="all")))
    handle.remove()

    n_heads = adapter.model.config.num_attention_heads
    by_hand = taken[-1][0].flatten(1).unflatten(1, (n_heads, -1)).norm(dim=-1)
    np.testing.assert_allclose(rows[0][site.name], by_hand, rtol=1e-5)


def test_matrices_of_heads_are_no_experts(tiny: Callable[..., HFAdapter]) -> None:
    """A state-space mixer with a matrix for every head (Zamba) is a state and nothing else."""
    kinds = tiny("zamba").sites.kinds

    assert "state" in kinds
    assert not {"experts", "router"} & set(kinds)


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_are_edited_where_they_are_read(kind: str, tiny: Callable[..., HFAdapter]) -> None:
    """Ablated units hold their value at every token; the others keep their bits."""
    adapter = tiny(kind, batch_size=4)
    site = blocks_of(adapter)[1]
    layout = Layout((site,))
    selected = np.arange(site.n_units) % 3 == 1
    edit = Ablation(UnitMask(layout, selected), offset=np.full(site.n_units, 1.5))
    hooks = hooks_of(adapter.model)
    intact = UNFOLD[kind](by_hand(adapter, TEXTS[0], [site.path])[site.path][0])
    with adapter.ablated(edit):
        edited = UNFOLD[kind](by_hand(adapter, TEXTS[0], [site.path])[site.path][0])
        adapter.generate("the bird", Sampling(max_tokens=3))

    assert (edited[:, selected] == 1.5).all()
    assert torch.equal(edited[:, ~selected], intact[:, ~selected])
    assert hooks_of(adapter.model) == hooks


def test_first_position_of_streams_has_its_own_value(tiny: Callable[..., HFAdapter]) -> None:
    """The offset of the first token is written to every stream of it, and nowhere else."""
    adapter = tiny("gemma3n_text")
    site = blocks_of(adapter)[0]
    ones = np.ones(site.n_units)
    edit = Ablation(UnitMask(Layout((site,)), ones.astype(bool)), offset=2 * ones, first=5 * ones)
    with adapter.ablated(edit):
        edited = UNFOLD["gemma3n_text"](by_hand(adapter, TEXTS[0], [site.path])[site.path][0])

    assert (edited[0] == 5).all()
    assert (edited[1:] == 2).all()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_flattened_tokens_are_read_text_by_text(
    batch_size: int, tiny: Callable[..., HFAdapter]
) -> None:
    """A router, which takes the tokens of all texts as rows, is read and edited text by text."""
    path = "model.layers.1.mlp.gate"
    adapter = tiny("mixtral", [path], batch_size=batch_size)
    (site,) = adapter.sites.sites
    assert site.axes == ("batch position", "6")
    for text, row in zip(TEXTS, at_every_token(adapter), strict=True):
        expected = by_hand(adapter, text, [path])[path][0].numpy()
        np.testing.assert_allclose(row[path], expected, atol=1e-4 * np.abs(expected).max())

    first = Ablation(
        UnitMask(adapter.sites, np.arange(6) == 2), offset=np.full(6, 3.0), first=np.full(6, 7.0)
    )
    with adapter.ablated(first):
        edited = at_every_token(adapter)
    for row in edited:
        assert row[path][0, 2] == 7
        assert (row[path][1:, 2] == 3).all()


def test_positions_that_are_no_tokens_are_refused(tiny: Callable[..., HFAdapter]) -> None:
    """Patches of bytes are refused in one line; the blocks over bytes are read."""
    with pytest.raises(AdapterError, match="which axes are those of texts and tokens") as error:
        assert tiny("blt", ["model.global_transformer.layers.0"]).sites
    assert "\n" not in str(error.value)
    adapter = tiny("blt")
    assert {site.axes for site in adapter.sites.sites} == {()}
    assert at_every_token(adapter)


def test_own_padding_of_a_model_is_not_read(tiny: Callable[..., HFAdapter]) -> None:
    """Reformer lengthens texts to whole chunks; what is read are the tokens of the text."""
    adapter = tiny("reformer")
    for text, row in zip(TEXTS, at_every_token(adapter), strict=True):
        n = len(adapter.tokenizer(text)["input_ids"])
        assert {len(values) for values in row.values()} == {n}


# axes by hand

PROBES = [TextProbe(lambda: None, 5, 7, (0, 1), (2, 4)), TextProbe(lambda: None, 3, 18, (1, 2))]


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((5, 7, 64), (3, 18, 64)), [("batch", "position", "64")]),
        (((5, 7, 4, 64), (3, 18, 4, 64)), [("batch", "position", "4", "64")]),
        (((4, 5, 7, 64), (4, 3, 18, 64)), [("4", "batch", "position", "64")]),
        (((7, 5, 64), (18, 3, 64)), [("position", "batch", "64")]),
        (((5, 7, 7), (3, 18, 7)), [("batch", "position", "7")]),
        (((5, 8), (3, 8)), [("batch", "8")]),
        (((35, 6), (54, 6)), [("batch position", "6"), ("position batch", "6")]),
        (((5, 21, 8), (3, 54, 8)), [("batch", "position 3", "8"), ("batch", "3 position", "8")]),
        (((5, 4, 7, 7), (3, 4, 18, 18)), []),  # two axes of positions
        (((7, 64), (18, 64)), []),  # no axis of texts
        (((70, 64), (99, 64)), []),  # rows that depend on the tokens
    ],
)
def test_axes_follow_from_the_sizes_of_two_passes(shapes: Any, axes: Any) -> None:
    """An axis is what it changes with; nothing else is guessed."""
    assert possible_axes(shapes, PROBES) == axes


def test_units_are_what_is_neither_text_nor_token() -> None:
    """All other factors are folded into units."""
    assert n_units(("4", "batch", "3 position", "64")) == 4 * 3 * 64


@pytest.mark.parametrize("order", [("3 position", 2), ("position 3", 3)])
def test_order_of_flattened_axes_follows_from_the_values(order: tuple[str, int]) -> None:
    """Where the last token changes a row tells whether streams or positions come first."""
    name, axis = order
    seen = []
    for probe in PROBES:
        rows = torch.randn(probe.n_stimuli, 1, probe.n_positions, 8).expand(-1, 3, -1, -1).clone()
        rows[probe.last[1], :, :-1] = rows[probe.last[0], :, :-1]
        if probe.same:
            rows[probe.same[1]] = rows[probe.same[0]]
        streams = rows if axis == 2 else rows.movedim(1, 2)
        seen.append(streams.flatten(1, 2))
    possible = possible_axes([tuple(x.shape) for x in seen], PROBES)

    assert settled(Site("x", "block", 0), possible, seen, PROBES) == ("batch", name, "8")


def test_tokens_in_another_order_are_not_taken_for_texts() -> None:
    """Rows that were sorted, as those of experts are, belong to no text that can be told."""
    seen = []
    for probe in PROBES:
        rows = torch.randn(probe.n_stimuli, probe.n_positions, 8)
        rows[probe.last[1], :-1] = rows[probe.last[0], :-1]
        if probe.same:
            rows[probe.same[1]] = rows[probe.same[0]]
        flat = rows.flatten(0, 1)
        seen.append(flat[flat[:, 0].argsort()])
    possible = possible_axes([tuple(x.shape) for x in seen], PROBES)

    assert settled(Site("x", "block", 0), possible, seen, PROBES) is None


# contexts and padding


@pytest.mark.parametrize(
    ("kind", "context"),
    [("roberta", 94), ("camembert", 94), ("xlm-roberta-xl", 94), ("whisper", 96), ("opt", 96)],
)
def test_context_is_what_has_a_position(
    kind: str, context: int, tiny: Callable[..., HFAdapter]
) -> None:
    """Texts as long as the context run, longer ones fail in transformers and are truncated here."""
    adapter = tiny(kind)
    assert adapter._lm.context == context
    with torch.no_grad():
        adapter.model(input_ids=torch.full((1, context), 9))
    long = [" ".join(SENTENCES * 3)]
    assert np.isfinite(values_of(adapter, texts(long), adapter.sites, tokens="all")).all()
    assert adapter.tokenization(texts(long), Readout()).kept.item() <= context
    with pytest.raises(AdapterError, match=f"fails on 1 texts of {context + 1} tokens"):
        adapter._lm.trunk(torch.full((1, context + 1), 9))


def test_context_of_a_model_that_pads_its_input() -> None:
    """Rows that a model looks up for padding of its own are no positions (Longformer's)."""
    table = torch.randn(20, 4)
    passes = [PositionTables(4), PositionTables(6)]
    for tables, rows in zip(passes, ([3, 4, 5, 6], [3, 4, 5, 6, 7, 8]), strict=True):
        with tables:
            torch.nn.functional.embedding(torch.tensor([rows + [2] * (8 - len(rows))]), table)

    assert n_embedded(passes) == 20 - 3


@pytest.mark.parametrize(
    ("kind", "can_pad"),
    [
        ("prophetnet", False),
        ("reformer", False),
        ("deepseek_v32", False),  # attends to 32 positions of the highest scores, in part equal
        ("jamba", True),
        ("mamba", True),
    ],
)
def test_neighbours_change_no_score(
    kind: str, can_pad: bool, tiny: Callable[..., HFAdapter]
) -> None:
    """Where padding changes logits, texts of equal length share a pass, and scores are the same."""
    requests = [TextRequest("", (text * 2)[:80]) for text in TEXTS]
    alone, together = (tiny(kind, batch_size=size).score(requests) for size in (1, 8))

    assert tiny(kind)._can_pad == can_pad
    np.testing.assert_allclose(
        [score.logprob for score in together], [score.logprob for score in alone], rtol=1e-4
    )


# looped models


@pytest.mark.parametrize("kind", ["dory"])
def test_every_call_of_a_looped_block_is_a_site(kind: str, tiny: Callable[..., HFAdapter]) -> None:
    """Site ``path#2`` reads what plain hooks see in the second call, and is edited alone."""
    adapter = tiny(kind, batch_size=4)
    looped = [site for site in blocks_of(adapter) if site.call]
    paths = list(dict.fromkeys(site.path for site in looped))
    alone = by_hand(adapter, TEXTS[0], paths)
    assert {path: len(calls) for path, calls in alone.items()} == {
        path: max(site.call for site in looped if site.path == path) for path in paths
    }
    read = at_every_token(adapter)[0]
    for site in looped:
        expected = alone[site.path][site.call - 1][0].numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(read[site.name], expected, rtol=0, atol=1e-4 * scale)

    second = next(site for site in looped if site.call == 2)
    selected = np.arange(second.n_units) % 2 == 0
    with adapter.ablated(Ablation(UnitMask(Layout((second,)), selected))):
        edited = by_hand(adapter, TEXTS[0], [second.path])[second.path]
        adapter.generate("the bird", Sampling(max_tokens=3))
    assert torch.equal(edited[0], alone[second.path][0])
    assert not edited[1][..., selected].any()
    assert all(call[..., selected].any() for call in edited[2:])


class Looped(nn.Module):
    """Two blocks that are passed several times."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, 8)
        self.layers = nn.ModuleList([Block(), Block()])
        self.loops = 3

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embed(codes)
        for _ in range(self.loops):
            for layer in self.layers:
                x = layer(x)
        return x


def codes_of(contents: Sequence[Any]) -> Tensor:
    return torch.tensor([[ord(c) for c in str(content)[:3].ljust(3)] for content in contents])


def test_loops_of_any_module_are_sites_in_the_order_of_the_pass() -> None:
    """A wrapped module has one site for each call, and named ones may mean one call."""
    module = Looped()
    blocks = wrap(module, preprocess=codes_of).sites.choose(["block"])
    named = wrap(module, preprocess=codes_of, sites=["layers.1#2", "layers.0"]).sites

    assert [site.name for site in blocks.sites] == [
        f"layers.{i}#{call}" for call in (1, 2, 3) for i in (0, 1)
    ]
    assert [site.name for site in named.sites] == [
        *("layers.1#2", "layers.0#1", "layers.0#2", "layers.0#3")
    ]
    with pytest.raises(AdapterError, match="its module is called 3 times"):
        wrap(module, preprocess=codes_of, sites=["layers.0#4"])


@pytest.mark.parametrize("loops", [2, 4])
def test_another_number_of_loops_is_one_line(loops: int) -> None:
    """Reading and ablation refuse a pass with more or fewer calls than when sites were found."""
    module = Looped()
    adapter = wrap(module, preprocess=codes_of)
    mask = UnitMask(adapter.sites, np.ones(adapter.sites.n_units, dtype=bool))
    module.loops = loops
    with pytest.raises(AdapterError, match=f"called {loops} times in a forward pass, but 3"):
        values_of(adapter, texts(["abc"]), adapter.sites)
    with (
        pytest.raises(AdapterError, match=f"called {loops} times in a forward pass, but 3"),
        adapter.ablated(Ablation(mask)),
    ):
        module(codes_of(["abc"]))


# forwards that fail


def test_a_language_model_that_needs_more_than_tokens_is_one_line(
    tiny: Callable[..., HFAdapter],
) -> None:
    """What a model raises on token ids alone becomes one line that says so."""
    with pytest.raises(AdapterError, match="token ids and an attention mask") as error:
        assert tiny("gemma4_assistant").sites
    assert "\n" not in str(error.value)


def test_a_module_that_fails_on_its_example_is_one_line() -> None:
    """An error inside a module of one's own names the module and what it raised."""
    with pytest.raises(
        AdapterError, match="Looped fails on its example input: IndexError"
    ) as error:
        wrap(Looped(), preprocess=lambda contents: codes_of(contents) + 128)
    assert "\n" not in str(error.value)


def test_causal_probe_is_two_small_passes() -> None:
    """Sites, context and causality of a language model come from at most three small passes."""
    model = model_of("llama")
    passes = []
    model.base_model.register_forward_pre_hook(
        lambda _, __, kwargs: passes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    adapter = HFAdapter(model, tokenizer_of(), "llama")
    assert adapter._lm.is_causal
    assert adapter.sites.sites
    assert adapter._lm.context == 64
    assert passes.count((5, 7)) <= 4  # shown, traced, observed, read
    assert sum(n * p for n, p in passes) <= 4 * 35 + 2 * 54
    assert isinstance(adapter._lm, CausalLM)
