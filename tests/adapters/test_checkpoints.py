"""Where a model comes from: adapters of peft, GGUF files, revisions, code in a checkpoint."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from deeploc.adapters.hf import load
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .conftest import LISTS, SENTENCES, model_of, texts, tokenizer_of, values_of
from .gguf_files import as_tensors, write_gguf

pytestmark = [  # peft's own
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]

STIMULI = texts(SENTENCES[:3] + LISTS[:3])
DEFAULT = ModelOptions()


def equal(state: Any, other: Any) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


def edited(file: Path, **changes: Any) -> None:
    """Change entries of a JSON file; None removes one."""
    content = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


# adapters of peft


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    model_of("llama", hidden_size=64, intermediate_size=96, head_dim=32).save_pretrained(folder)
    tokenizer_of(bos=True).save_pretrained(folder)
    return folder


def adapter_in(folder: Path, base: Path, config: Any, prepare: Any = None) -> Path:
    """Save a random adapter of the model in ``base``."""
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if prepare:
        prepare(model)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        peft.get_peft_model(model, config).save_pretrained(folder)
    return folder


def lora(**more: Any) -> Any:
    peft = pytest.importorskip("peft")
    targets = ["q_proj", "v_proj", "down_proj"]
    return peft.LoraConfig(target_modules=targets, init_lora_weights=False, r=4, **more)


KINDS: dict[str, Callable[[], Any]] = {
    "lora": lora,
    "dora": lambda: lora(use_dora=True),
    "with-head": lambda: lora(modules_to_save=["lm_head"]),
    "ia3": lambda: pytest.importorskip("peft").IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_is_merged_as_peft_merges_it(kind: str, base: Path, tmp_path: Path) -> None:
    """The weights are bit for bit those of merge_and_unload, and no others are left."""
    folder = adapter_in(tmp_path, base, KINDS[kind]())
    if kind == "ia3":  # whose random initialization is no change
        weights = load_file(folder / "adapter_model.safetensors")
        save_file({k: v * 1.5 for k, v in weights.items()}, folder / "adapter_model.safetensors")
    peft = pytest.importorskip("peft")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    merged = peft.PeftModel.from_pretrained(plain, str(folder)).merge_and_unload().state_dict()
    adapter = load(str(folder), DEFAULT)

    assert equal(adapter.model.state_dict(), merged)
    assert not equal(merged, before)
    assert adapter.sites == load(str(base), DEFAULT).sites
    assert adapter.identity["peft"]["base"] == str(base)


def test_base_beside_the_adapter_and_either_tokenizer(base: Path, tmp_path: Path) -> None:
    """A relative base starts at the adapter; its tokenizer counts unless the adapter has one."""
    shutil.copytree(base, tmp_path / "base")
    folder = adapter_in(tmp_path / "adapter", base, lora())
    edited(folder / "adapter_config.json", base_model_name_or_path="../base")
    of_base = load(str(folder), DEFAULT).identity
    tokenizer_of().save_pretrained(folder)
    own = load(str(folder), DEFAULT).identity

    assert of_base["bos"] == load(str(base), DEFAULT).identity["bos"] != own["bos"]
    assert own["weights"] == of_base["weights"]


def test_adapter_of_a_larger_vocabulary(base: Path, tmp_path: Path) -> None:
    """The base model gets the embeddings that the adapter was saved with."""
    folder = adapter_in(
        tmp_path,
        base,
        lora(modules_to_save=["embed_tokens", "lm_head"]),
        lambda model: model.resize_token_embeddings(340, mean_resizing=False),
    )
    saved = load_file(folder / "adapter_model.safetensors")
    adapter = load(str(folder), DEFAULT)
    embeddings = adapter.model.get_input_embeddings().weight

    assert torch.equal(embeddings, saved["base_model.model.model.embed_tokens.weight"])
    assert len(load(str(folder), ModelOptions(untrained=True)).model.lm_head.weight) == 340


def test_untrained_adapter_is_its_untrained_base(base: Path, tmp_path: Path) -> None:
    """An adapter changes trained weights: the control has none of it."""
    options = ModelOptions(untrained=True, seed=3)
    adapter = load(str(adapter_in(tmp_path, base, lora())), options)

    assert adapter.identity["weights"] == load(str(base), options).identity["weights"]


def without(name: str) -> Callable[[Path], object]:
    """Return what removes one tensor from an adapter."""

    def remove(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        del tensors[next(key for key in sorted(tensors) if name in key)]
        save_file(tensors, file)

    return remove


def config_of(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: edited(folder / "adapter_config.json", **changes)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-base": (config_of(base_model_name_or_path=None), "does not say what its base model is"),
    "lost-base": (config_of(base_model_name_or_path="./gone"), "its base model './gone' cannot"),
    "prompt": (config_of(peft_type="PROMPT_TUNING"), "adds virtual tokens to its input (PROMPT"),
    "new-kind": (config_of(peft_type="FOO"), "is of type 'FOO', which this peft does not know"),
    "no-weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no weights (adapt"),
    "one-missing": (without("lora_A"), "it lacks 1 weights (first: base_model.model.model.layer"),
    "bad-json": (lambda f: (f / "adapter_config.json").write_text("{"), "is not valid JSON"),
    "other-base": (config_of(target_modules=["q_proj"]), "it has 8 weights (first: base_model.m"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_adapter_is_one_line(fault: str, base: Path, tmp_path: Path) -> None:
    """What does not fit is told with its place; nothing is left random."""
    break_it, message = FAULTS[fault]
    break_it(adapter_in(tmp_path, base, lora()))
    with pytest.raises(AdapterError) as error:
        load(str(tmp_path), DEFAULT)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_adapter_beside_a_model_is_refused(base: Path, tmp_path: Path) -> None:
    """Which of the two is meant cannot be told; a base that is an adapter is refused as well."""
    folder = shutil.copytree(base, tmp_path / "both")
    adapter_in(folder, base, lora())
    with pytest.raises(AdapterError, match=r"contains both a model \(model.safetensors\) and an"):
        load(str(folder), DEFAULT)
    second = adapter_in(tmp_path / "second", base, lora())
    edited(second / "adapter_config.json", base_model_name_or_path=str(folder))
    with pytest.raises(AdapterError, match=r"its base model .* is an adapter too; merge that one"):
        load(str(second), DEFAULT)


def test_packages_that_are_absent_are_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the command that installs it, for each kind of checkpoint."""
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "model.gguf").touch()
    mapped = ModelOptions(device_map="auto")
    asked = {"peft": tmp_path, "gguf": tmp_path / "model.gguf", "accelerate": base}
    for package, place in asked.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(AdapterError, match=rf"`pip install 'deeploc\[{package}\]'`$"):
            load(str(place), mapped if package == "accelerate" else DEFAULT)


# GGUF files


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_gguf_file_is_read_as_it_was_written(kind: str, tmp_path: Path) -> None:
    """Weights are those that the file's own library decodes, and so are activations."""
    pytest.importorskip("gguf")
    model = model_of("llama", hidden_size=64, intermediate_size=96, head_dim=32)
    file = tmp_path / "model.gguf"
    stored = as_tensors(write_gguf(file, model, tokenizer_of(), kind))
    adapter = load(str(file), DEFAULT)
    model.load_state_dict(stored)
    model.save_pretrained(tmp_path / "decoded")
    tokenizer_of().save_pretrained(tmp_path / "decoded")
    decoded = load(str(tmp_path / "decoded"), DEFAULT)

    assert equal(adapter.model.state_dict(), stored)
    assert adapter.sites == decoded.sites
    read = [values_of(m, STIMULI, m.sites, pool="last") for m in (adapter, decoded)]
    assert (read[0] == read[1]).all()
    assert adapter.identity["gguf"] == "model.gguf"


def test_gguf_untrained_and_misplaced(tmp_path: Path) -> None:
    """Random weights of the same architecture; a folder of GGUF files names one to give."""
    pytest.importorskip("gguf")
    model = model_of("llama", hidden_size=64, intermediate_size=96, head_dim=32)
    write_gguf(tmp_path / "model.gguf", model, tokenizer_of(), "F16")
    place = str(tmp_path / "model.gguf")
    trained, untrained = load(place, DEFAULT), load(place, ModelOptions(untrained=True))

    assert untrained.sites == trained.sites
    assert untrained.identity["weights"] != trained.identity["weights"]
    with pytest.raises(AdapterError, match=rf"no config.json; give one file of it, hf:{place}$"):
        load(str(tmp_path), DEFAULT)
    with pytest.raises(AdapterError, match=r"there is no such file; give a GGUF file as hf:/path"):
        load(str(tmp_path / "other.gguf"), DEFAULT)
