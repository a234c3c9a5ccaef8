"""Any torch module: wrap(), and torch:package.module:attribute."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._torch.read import eval_mode
from deeploc.adapters.module import load, wrap
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
from deeploc.core.units import Site, UnitMask
from deeploc.errors import AdapterError
from deeploc.testing import ToyAdapter, check_adapter

from .conftest import LISTS, MIXED, SENTENCES, model_of, texts, tokenizer_of, values_of

STIMULI = texts(["the bird", "a", "some farmers walked", "b c d", "ee"])


class Reader(nn.Module):
    """Characters in, two blocks over (batch, position, unit) out."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Embedding(128, 8)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(8, 12), nn.Dropout(0.5), nn.ReLU(), nn.Linear(12, 8))
                for _ in range(2)
            )

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embed(codes)
        for block in self.blocks:
            x = x + block(x)
        return x


def characters(contents: Sequence[Any], side: str = "right") -> Mapping[str, Any]:
    """Return character codes padded on a side, with the mask that says where."""
    longest = max(len(text) for text in contents)
    codes, mask = [], []
    for text in contents:
        pad, own = [0] * (longest - len(text)), [ord(c) for c in text]
        codes.append(pad + own if side == "left" else own + pad)
        valid = [1] * len(own)
        mask.append([0] * len(pad) + valid if side == "left" else valid + [0] * len(pad))
    return {"codes": torch.tensor(codes), "attention_mask": torch.tensor(mask)}


def left(contents: Sequence[Any]) -> Mapping[str, Any]:
    return characters(contents, "left")


def test_keeps_the_contract() -> None:
    """A wrapped module does what every adapter promises, dropout and all."""
    module = Reader().train()
    check_adapter(wrap(module, preprocess=characters), STIMULI)

    assert all(m.training for m in module.modules())


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("preprocess", [characters, left])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_padding_on_either_side_leaves_no_trace(
    preprocess: Callable[..., Any], pool: str, batch_size: int | None
) -> None:
    """The attention mask that preprocess returns says what is read."""
    adapter = wrap(Reader(), preprocess=preprocess, batch_size=batch_size)
    alone = wrap(Reader(), preprocess=characters, batch_size=1)

    np.testing.assert_allclose(
        values_of(adapter, STIMULI, adapter.sites, pool=pool),
        values_of(alone, STIMULI, alone.sites, pool=pool),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_left_padded_language_model_reads_as_the_hf_adapter(padding_side: str) -> None:
    """A causal LM wrapped with a tokenizer's own padding gives what hf: gives."""
    model, tokenizer = model_of("llama"), tokenizer_of(pad=True)
    tokenizer.padding_side = padding_side

    def preprocess(contents: list[Any]) -> Mapping[str, Any]:
        return dict(tokenizer(contents, padding=True, return_tensors="pt"))

    stimuli = texts(SENTENCES + LISTS)
    plain, hf = wrap(model, preprocess=preprocess), HFAdapter(model, tokenizer, "llama")
    expected = values_of(hf, stimuli, hf.sites, tokens="all")

    assert plain.sites == hf.sites
    np.testing.assert_allclose(
        values_of(plain, stimuli, plain.sites, tokens="all"), expected, rtol=1e-4, atol=2e-4
    )


def test_model_in_hand_with_tokenizer_is_the_hf_adapter() -> None:
    """It reads, scores and generates exactly as the same model loaded by name."""
    model, tokenizer = model_of("gpt2"), tokenizer_of()
    wrapped: Any = wrap(model, tokenizer=tokenizer)
    hf = HFAdapter(model, tokenizer, "x")
    request = [TextRequest("the old", " woman")]

    check_adapter(wrapped, texts(MIXED))
    assert wrapped.score(request) == hf.score(request)
    assert wrapped.generate("the", Sampling(4)) == hf.generate("the", Sampling(4))
    assert wrapped.identity["model"] == "GPT2LMHeadModel"


@pytest.mark.parametrize("form", ["tensor", "tuple", "mapping"])
def test_inputs_of_every_form(form: str) -> None:
    """A tensor, a tuple of tensors or keyword arguments."""

    def preprocess(contents: list[Any]) -> Any:
        codes = torch.tensor([[ord(text[0]), len(text)] for text in contents])
        return {"tensor": codes, "tuple": (codes,), "mapping": {"codes": codes}}[form]

    values = values_of(
        wrap(Reader(), preprocess=preprocess), STIMULI, wrap(Reader(), preprocess=preprocess).sites
    )

    assert np.isfinite(values).all()


def test_sites_without_positions() -> None:
    """(batch, unit) is read unchanged with every pool."""
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())

    def preprocess(contents: list[Any]) -> Tensor:
        return torch.tensor([[len(text), float(text.count("a"))] for text in contents])

    adapter = wrap(module, preprocess=preprocess)
    with torch.no_grad():
        expected = module(preprocess([s.content for s in STIMULI])).numpy()
    values = values_of(adapter, STIMULI, adapter.sites, pool="mean")

    np.testing.assert_allclose(values[:, -4:], expected, rtol=1e-6)


def test_sites_asked_for_are_read_and_ablated() -> None:
    """Any module by its path, and its input too."""
    sites: list[str | Site] = ["blocks.1.0", "blocks.1.3:input"]
    adapter = wrap(Reader(), preprocess=characters, sites=sites, name="mine")
    mask = UnitMask(adapter.sites, np.arange(24) % 5 == 0)
    with adapter.ablated(Ablation(mask)):
        values = values_of(adapter, STIMULI, adapter.sites)

    assert [site.name for site in adapter.sites.sites] == sites
    assert (values[:, mask.selected] == 0).all()
    assert adapter.identity["model"] == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^wrap\(Reader\) needs preprocess= .* or tokenizer="),
        ({"preprocess": characters, "tokenizer": 1}, "and only one of them$"),
        ({"tokenizer": 1}, "tokenizer= is for models of transformers that take token ids"),
        ({"preprocess": lambda _: [1]}, "preprocess of Reader returned list; it must return a"),
        ({"preprocess": characters, "sites": ["bloks.0"]}, "has no module 'bloks.0'; did you"),
    ],
)
def test_misuse_is_an_error(options: dict[str, Any], message: str) -> None:
    """What is missing or wrong, and what would be right."""
    with pytest.raises(AdapterError, match=message):
        wrap(Reader(), **options)


def test_unreadable_shapes_are_an_error() -> None:
    """A site of another shape than (batch, position, unit) is named with its shape."""

    class Turned(Reader):
        def forward(self, codes: Tensor) -> Tensor:
            return self.blocks[0](self.embed(codes).transpose(0, 1))

    adapter = wrap(Turned(), preprocess=characters)
    with pytest.raises(AdapterError, match=r"site blocks.0 holds \(19, 5, 8\) for 5 stimuli"):
        values_of(adapter, STIMULI, adapter.sites.choose(["block"]))


def test_empty_attention_mask_names_the_stimulus() -> None:
    """A stimulus without a valid position has nothing to read."""
    adapter = wrap(Reader(), preprocess=characters)
    with pytest.raises(AdapterError, match="stimulus texts:1 has no position to read"):
        values_of(adapter, texts(["a", ""]), adapter.sites)


def test_truncation_needs_a_tokenizer() -> None:
    """max_tokens is not silently ignored."""
    adapter = wrap(Reader(), preprocess=characters)
    with pytest.raises(AdapterError, match=r"read\.max_tokens is 3, but Reader has no tokenizer"):
        values_of(adapter, STIMULI, adapter.sites, max_tokens=3)


# torch:package.module:attribute

MINE = """\
import torch
from torch import nn

from deeploc.adapters.module import wrap
from deeploc.testing import ToyAdapter


def codes(contents):
    return torch.tensor([[float(len(text))] for text in contents])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def bare():
    return Net()


def net():
    module = Net()
    module.preprocess = codes
    return module


ready = wrap(Net(), preprocess=codes)
toy = ToyAdapter
number = 3


def broken():
    raise OSError("weights\\nare gone")
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module of a user in the current folder."""
    import sys

    (tmp_path / "deeploc_test_mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.usefixtures("user_module")
def test_imports_from_the_current_folder() -> None:
    """A factory of a module, an adapter made already, a class of adapters."""
    options = ModelOptions(device="cpu")
    net, again, other = (
        load("deeploc_test_mine:net", ModelOptions(device="cpu", seed=s)) for s in (1, 1, 2)
    )

    assert len(net.sites.sites) == 2
    assert net.identity == again.identity
    assert net.identity["weights"] != other.identity["weights"]
    assert load("deeploc_test_mine:ready", ModelOptions()).sites == net.sites
    assert isinstance(load("deeploc_test_mine:toy", ModelOptions()), ToyAdapter)
    assert load("deeploc_test_mine:net", options).identity["model"] == "deeploc_test_mine:net"


@pytest.mark.usefixtures("user_module")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nonsense", {}, "'nonsense' names no object; write torch:package.module:attribute"),
        ("deeploc_test_gone:net", {}, "ModuleNotFoundError: No module named 'deeploc_test_gone'"),
        ("deeploc_test_mine:nett", {}, "has no 'nett'; did you mean 'net'?"),
        ("deeploc_test_mine:broken", {}, "cannot be made: OSError: weights are gone; it must be"),
        ("deeploc_test_mine:number", {}, "is int; it must be a torch module, an adapter"),
        ("deeploc_test_mine:bare", {}, "is a module, but has nothing that turns stimuli into its"),
        ("deeploc_test_mine:net", {"untrained": True}, "cannot be loaded untrained"),
        ("deeploc_test_mine:broken", {"untrained": True}, "cannot be loaded untrained"),
        ("deeploc_test_mine:ready", {"dtype": "bfloat16"}, "is an adapter already made"),
        ("deeploc_test_mine:net", {"device": "cuda:99"}, "device 'cuda:99' is not available"),
    ],
)
def test_errors_are_one_line(name: str, options: dict[str, Any], message: str) -> None:
    """Every wrong name or option gives one line that says what would be right."""
    with pytest.raises(AdapterError) as error:
        load(name, ModelOptions(**options))

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_float32_is_not_rounded_to_tensorfloat() -> None:
    """Convolutions keep their precision in a pass of deeploc; the user's setting comes back."""
    before = torch.backends.cudnn.allow_tf32
    module = nn.Sequential(nn.Dropout())
    with eval_mode(module):
        assert not torch.backends.cudnn.allow_tf32
        assert not module[0].training
    assert torch.backends.cudnn.allow_tf32 == before
    assert module[0].training
