"""Sites from the module tree: shapes of model that the families do not cover."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from deeploc.adapters._sites.discover import discover, named_sites
from deeploc.adapters._torch.hooks import SiteHook, hook_sites, replace_first
from deeploc.core.units import Site
from deeploc.errors import AdapterError

from .conftest import hooks_of


class Cumulative(nn.Module):
    """Carries the sum of what came before: a recurrent module."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.q(x).cumsum(1))


class Block(nn.Module):
    """A recurrent module, then an MLP of a given width; ``None`` leaves it out."""

    def __init__(self, width: int, inner: int | None, experts: int = 0) -> None:
        super().__init__()
        self.mixing = Cumulative(width)
        self.up = nn.Linear(width, inner) if inner else None
        self.down = nn.Linear(inner, width) if inner else None
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, width))
            for _ in range(experts)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        x = x + self.mixing(x)
        if self.up is not None and self.down is not None:
            x = x + self.down(self.up(x).relu())
        for expert in self.experts:
            x = x + expert(x)
        return x, "rest"


class Stack(nn.Module):
    def __init__(self, *blocks: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = head or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)[0]
        return self.head(x)


def discovered(model: nn.Module, width: int = 8) -> list[tuple[str, str, int]]:
    inputs = torch.linspace(-1, 1, 3 * width).reshape(1, 3, width)
    layout = discover(model, lambda: model(inputs))
    return [(site.name, site.kind, site.n_units) for site in layout.sites]


def parts_of(block: str, inner: int) -> list[tuple[str, str, int]]:
    return [
        (f"{block}.mixing", "state", 8),
        (f"{block}.down:input", "mlp-neurons", inner),
        (f"{block}.down", "mlp", 8),
        (block, "block", 8),
    ]


def test_one_block_is_a_trunk() -> None:
    """A model of a single block has the sites of that block."""
    assert discovered(Stack(Block(8, 12))) == parts_of("blocks.0", 12)


def test_blocks_may_differ_in_width() -> None:
    """Units are counted block by block, from what runs through them."""
    assert discovered(Stack(Block(8, 12), Block(8, 20), Block(8, None))) == [
        *parts_of("blocks.0", 12),
        *parts_of("blocks.1", 20),
        ("blocks.2.mixing", "state", 8),
        ("blocks.2", "block", 8),
    ]


def test_experts_are_neither_trunk_nor_mlp() -> None:
    """A single block with many large experts: the block is discovered, and no neurons."""
    assert discovered(Stack(Block(8, None, experts=5))) == [
        ("blocks.0.mixing", "state", 8),
        ("blocks.0", "block", 8),
    ]


def test_what_mixes_positions_is_no_mlp() -> None:
    """The projections of the recurrent module, 32 wide, do not pass for an MLP 12 wide."""
    neurons = [name for name, kind, _ in discovered(Stack(Block(8, 12))) if kind == "mlp-neurons"]

    assert neurons == ["blocks.0.down:input"]


def test_trunk_is_the_largest_stack_that_runs() -> None:
    """A larger stack that takes no part, and a smaller head, are passed over."""
    model = Stack(Block(8, 12), head=nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    model.unused = nn.ModuleList([nn.Linear(500, 500)])

    assert discovered(model) == parts_of("blocks.0", 12)


def test_sequential_stack() -> None:
    """Layers in a Sequential inside a Sequential of unlike parts, after their activations."""
    model = nn.Sequential(
        nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    )

    assert [name for name, _, _ in discovered(model, width=4)] == ["0", "1.1", "1.3"]


def test_model_without_stack_is_refused() -> None:
    """Nothing is guessed; the message says how to name sites."""
    with pytest.raises(AdapterError, match=r"^Linear has no stack of .* `deeploc.wrap\(module, s"):
        discovered(nn.Linear(8, 8))


def test_named_sites() -> None:
    """Paths, inputs of modules and ready-made sites, in the order given."""
    model = Stack(Block(8, 12))
    mine = Site("blocks.0.mixing", "attention", 8)
    wanted = ["blocks.0.down:input", mine, "blocks.0.up"]
    layout = named_sites(model, wanted, lambda: model(torch.ones(1, 3, 8)))

    assert layout.sites == (
        Site("blocks.0.down", "block", 12, "input"),
        mine,
        Site("blocks.0.up", "block", 12),
    )


def test_misspelt_site_names_the_nearest() -> None:
    """The message quotes the path and the nearest one there is."""
    model = Stack(Block(8, 12))
    with pytest.raises(AdapterError, match=r"no module 'blocks.0.dwn'; did you mean 'blocks.0.do"):
        named_sites(model, ["blocks.0.dwn"], lambda: model(torch.ones(1, 3, 8)))


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Record:
    note: str
    hidden: Tensor


ONE = torch.ones(2)


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        (ONE, "rest"),
        [None, ONE],
        {"a": None, "b": (ONE, 3)},
        Pair("x", ONE),
        Record("x", ONE),
        BaseModelOutputWithPast(last_hidden_state=ONE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_structure_is_kept(value: Any) -> None:
    """The first tensor is replaced in a copy of the same structure; the original keeps its own."""
    new = replace_first(value, lambda x: 2 * x)
    same = replace_first(value, lambda _: None)

    assert type(new) is type(value)
    assert same is value
    assert "tensor([2., 2.])" in repr(new)
    assert "tensor([1., 1.])" in repr(value)


class Closed(nn.Module):
    def register_forward_hook(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no hooks here")


def test_failed_registration_leaves_no_hook() -> None:
    """If a hook cannot be set, those set before it are gone, and hooks of others stay."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *_: None)
    before = hooks_of(model)
    hooks = [
        SiteHook("1", model[1], "output", lambda x: x),
        SiteHook("2", Closed(), "output", lambda x: x),
    ]
    with pytest.raises(RuntimeError, match="no hooks here"), hook_sites(hooks):
        pass

    assert hooks_of(model) == before


def test_input_given_by_keyword_is_edited() -> None:
    """A hook on the input edits the tensor among keyword arguments too."""
    layer = nn.Identity()
    with hook_sites([SiteHook("", layer, "input", lambda x: x + 1)]):
        edited = layer(input=torch.zeros(2))

    assert edited.tolist() == [1.0, 1.0]
