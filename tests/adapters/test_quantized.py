"""Quantized weights: what they are identified by, read, ablated and scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization as ao
from torch import nn
from transformers import AutoModelForCausalLM

from deeploc.adapters._torch.identity import structure_hash, weights_hash
from deeploc.adapters.hf import load
from deeploc.adapters.module import wrap
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, ModelOptions, ScoresText, TextRequest
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing import check_adapter

from .conftest import LISTS, MIXED, SENTENCES, Shrunk, model_of, texts, tokenizer_of, values_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
]

STIMULI = texts(SENTENCES + LISTS)


def llama(seed: int = 0) -> Any:
    """Return a model whose layers are wide enough for every kernel."""
    size = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32}
    return model_of("llama", seed=seed, num_key_value_heads=2, **size)


def dynamic(module: nn.Module) -> nn.Module:
    """Return a copy with int8 weights, whose activations are quantized while it runs."""
    kinds = {nn.Linear, nn.LSTM}
    quantized: nn.Module = ao.quantize_dynamic(module, kinds, dtype=torch.qint8)
    return quantized


def wrapped(model: nn.Module, **options: Any) -> Adapter:
    return wrap(model, tokenizer=tokenizer_of(), name="model", **options)


# identity


def test_packed_weights_are_hashed() -> None:
    """One integer of one packed weight is another model; where it came from is not."""
    first, same, other = dynamic(llama()), dynamic(llama()), dynamic(llama())
    layer = other.get_submodule("model.layers.1.mlp.up_proj")
    weight = layer.weight()
    integers = weight.int_repr()
    integers[3, 5] += 1 if integers[3, 5] < 100 else -1
    scale, zero = weight.q_scale(), weight.q_zero_point()
    changed = torch._make_per_tensor_quantized_tensor(integers, scale, zero)
    layer.set_weight_bias(changed, layer.bias())

    assert weights_hash(first) == weights_hash(same)
    assert len({weights_hash(m) for m in (first, other, dynamic(llama(1)), llama())}) == 4


def test_packed_recurrent_weights_are_hashed() -> None:
    """Also where they are in an object of TorchScript."""

    def net(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return dynamic(nn.Sequential(nn.LSTM(4, 6)))

    assert weights_hash(net(0)) == weights_hash(net(0)) != weights_hash(net(1))


QUANTIZED: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "tensor": lambda x, scale: torch.quantize_per_tensor(x, scale, 0, torch.qint8),
    "channel": lambda x, scale: torch.quantize_per_channel(
        x, torch.full((4,), scale), torch.zeros(4), 0, torch.qint8
    ),
}


@pytest.mark.parametrize("scheme", QUANTIZED)
def test_quantized_tensor_is_its_integers_and_scales(scheme: str, rng: np.random.Generator) -> None:
    """Equal integers of another scale are other values."""
    make, x = QUANTIZED[scheme], torch.from_numpy(rng.normal(size=(4, 6))).float()
    once, again, scaled = make(x, 0.01), make(x.clone(), 0.01), make(2 * x, 0.02)

    assert torch.equal(once.int_repr(), scaled.int_repr())
    assert structure_hash(once) == structure_hash(again) != structure_hash(scaled)


# reading, ablating, scoring


def test_dynamic_int8_keeps_the_contract() -> None:
    """Read, ablated and restored as any other model."""
    adapter = wrapped(dynamic(llama()))
    check_adapter(adapter, texts(MIXED))
    mask = UnitMask(adapter.sites, np.arange(adapter.sites.n_units) % 3 == 0)
    requests = [TextRequest(SENTENCES[0], " sang"), TextRequest("", SENTENCES[1])]
    assert isinstance(adapter, ScoresText)
    intact = adapter.score(requests)
    with adapter.ablated(Ablation(mask)):
        values = values_of(adapter, STIMULI, adapter.sites)
        edited = adapter.score(requests)

    assert (values[:, mask.selected] == 0).all()
    assert edited != intact == adapter.score(requests)


def test_dynamic_int8_reads_what_the_model_computes() -> None:
    """A text is read as the quantized model computes it alone, whatever is read beside it."""
    model = dynamic(llama())
    adapter = wrapped(model)
    blocks = adapter.sites.choose(["block"])
    values = values_of(adapter, STIMULI, blocks, pool="last")
    tokenizer = tokenizer_of()
    for row, stimulus in zip(values, STIMULI, strict=True):
        ids = torch.tensor([tokenizer(stimulus.content)["input_ids"]])
        with torch.inference_mode():
            hidden = model.model(ids, output_hidden_states=True).hidden_states
        np.testing.assert_array_equal(row[:64], hidden[1][0, -1])

    alone = wrapped(model, batch_size=1)
    np.testing.assert_array_equal(values, values_of(alone, STIMULI, blocks, pool="last"))
    assert adapter.score([TextRequest("", s) for s in SENTENCES]) == [
        alone.score([TextRequest("", s)])[0] for s in SENTENCES
    ]


class Flat(nn.Module):
    """Two blocks over all numbers of a stimulus."""

    def __init__(self) -> None:
        super().__init__()
        blocks = (nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48)) for _ in range(2))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.blocks(x.flatten(1))
        return result


def numbers(contents: Any) -> torch.Tensor:
    return torch.tensor([[float(len(text)) ** 2 * n for n in range(48)] for text in contents])


@pytest.mark.parametrize("kind", ["preprocess", "transform"])
def test_stimuli_of_other_adapters_are_separate_too(kind: str, image_files: list[Stimulus]) -> None:
    """A batch reads as its stimuli do one by one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = dynamic(Flat().eval())
    prepare: dict[str, Any] = {"preprocess": numbers, "transform": Shrunk(4)}
    stimuli = image_files if kind == "transform" else STIMULI
    chosen = {kind: prepare[kind]}
    together, alone = (wrap(net, **chosen, name="n", batch_size=n) for n in (None, 1))
    read = [
        values_of(adapter, stimuli, adapter.sites, pool="mean") for adapter in (together, alone)
    ]

    np.testing.assert_array_equal(*read)


# libraries


def bitsandbytes(**options: Any) -> Any:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**options)


def torchao(name: str) -> Any:
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    return TorchAoConfig(getattr(quantization, name)())


LIBRARIES: dict[str, Callable[[], Any]] = {
    "bitsandbytes-8": lambda: bitsandbytes(load_in_8bit=True),
    "bitsandbytes-4": lambda: bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "torchao": lambda: torchao("Int8WeightOnlyConfig"),
    "torchao-dynamic": lambda: torchao("Int8DynamicActivationInt8WeightConfig"),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore")  # of these libraries, while they quantize
def test_checkpoint_is_loaded_as_it_was_quantized(
    library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It keeps the contract, is identified by its packed weights, and prints nothing."""
    config = LIBRARIES[library]()
    llama().save_pretrained(tmp_path / "float")
    quantized = AutoModelForCausalLM.from_pretrained(
        tmp_path / "float", quantization_config=config, dtype=torch.float32
    )
    quantized.save_pretrained(tmp_path / "int")
    for kind in ("float", "int"):
        tokenizer_of().save_pretrained(tmp_path / kind)
    capfd.readouterr()
    adapter, again = (load(str(tmp_path / "int"), ModelOptions()) for _ in range(2))
    plain = load(str(tmp_path / "float"), ModelOptions())
    check_adapter(adapter, texts(MIXED))
    untrained = load(str(tmp_path / "int"), ModelOptions(untrained=True))
    printed = capfd.readouterr()

    assert adapter.identity == again.identity
    assert adapter.identity["weights"] != plain.identity["weights"]
    assert adapter.sites.choose(["block"]) == plain.sites.choose(["block"])
    assert untrained.model.lm_head.weight.dtype == torch.float32
    assert printed == ("", "")


@pytest.mark.parametrize(
    ("method", "package"),
    [("awq", "gptqmodel"), ("compressed-tensors", "compressed_tensors"), ("aqlm", "aqlm")],
)
def test_library_that_is_absent_is_named(method: str, package: str, tmp_path: Path) -> None:
    """One line with the package, before the weights are read."""
    try:
        __import__(package)
    except ImportError:
        model = llama()
        model.config.quantization_config = {"quant_method": method, "bits": 4, "group_size": 32}
        model.config.save_pretrained(tmp_path)
        tokenizer_of().save_pretrained(tmp_path)
        with pytest.raises(AdapterError, match=r"what it needs is missing: .*pip install") as error:
            load(str(tmp_path), ModelOptions())
        assert "\n" not in str(error.value)
    else:
        pytest.skip(f"{package} is installed")
