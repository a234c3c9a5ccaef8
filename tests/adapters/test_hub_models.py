"""Models of the hub: revisions, adapters and GGUF files in its cache; code in a checkpoint."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from deeploc.adapters import timm as timm_adapter
from deeploc.adapters import torchvision as torchvision_adapter
from deeploc.adapters._torch.checkpoint import locate
from deeploc.adapters.hf import load
from deeploc.adapters.module import load as load_module
from deeploc.adapters.reference import load as load_reference
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError
from tests import fake_hub

from .conftest import model_of, tokenizer_of
from .gguf_files import write_gguf

pytestmark = pytest.mark.usefixtures("checkpoint_code")

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
DEFAULT = ModelOptions()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of a hub that cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def snapshot(cache: Path, name: str, revision: str) -> Path:
    """Return the folder of a revision in the cache, as the hub's library lays it out."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(COMMITS[revision])
    folder = repository / "snapshots" / COMMITS[revision]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save(folder: Path, seed: int) -> None:
    model_of("llama", seed=seed).save_pretrained(folder)
    tokenizer_of().save_pretrained(folder)


def save_lora(folder: Path, config: Any, base: str) -> None:
    """Save an adapter that is no change yet."""
    peft = pytest.importorskip("peft")
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        adapted = peft.get_peft_model(model_of("llama"), config)
    adapted.save_pretrained(folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": base}))


# revisions


def test_revision_is_resolved_and_identified(cache: Path) -> None:
    """A branch, a tag and a commit are read; the identity tells the commit that was asked for."""
    save(snapshot(cache, "owner/tiny", "main"), 0)
    save(snapshot(cache, "owner/tiny", "v1"), 1)
    main = load("owner/tiny", ModelOptions(revision="main")).identity
    tagged = load("owner/tiny", ModelOptions(revision="v1")).identity
    pinned = load("owner/tiny", ModelOptions(revision=COMMITS["v1"])).identity

    assert main["revision"] == COMMITS["main"]
    assert tagged["revision"] == COMMITS["v1"]
    assert tagged == pinned
    assert tagged["weights"] != main["weights"]
    assert load("owner/tiny", DEFAULT).identity["weights"] == main["weights"]
    with pytest.raises(
        AdapterError, match=r"model 'owner/tiny' \(revision v2\) cannot be loaded: "
    ):
        load("owner/tiny", ModelOptions(revision="v2"))


def test_revision_of_a_timm_network(cache: Path) -> None:
    """By its name on the hub; anything else is refused with that name."""
    for seed, revision in enumerate(COMMITS):
        folder = snapshot(cache, "owner/net", revision)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = timm.create_model("test_vit")
        timm.models.save_for_hf(network, folder)
    main = timm_adapter.load("owner/net", DEFAULT).identity
    tagged = timm_adapter.load("owner/net", ModelOptions(revision="v1")).identity

    assert "revision" not in main
    assert tagged["revision"] == COMMITS["v1"]
    assert tagged["weights"] != main["weights"]
    with pytest.raises(AdapterError, match=r"'resnet18' is not; give timm:timm/resnet18\.a1_in1k$"):
        timm_adapter.load("resnet18", ModelOptions(revision="v1"))


def test_adapter_and_its_base_have_revisions_of_their_own(cache: Path) -> None:
    """--revision is that of the adapter; the adapter tells that of its base."""
    peft = pytest.importorskip("peft")
    for seed, revision in enumerate(COMMITS):
        save(snapshot(cache, "owner/tiny", revision), seed)
    config = peft.LoraConfig(target_modules=["q_proj"], revision="v1")
    folder = snapshot(cache, "owner/lora", "v1")
    save_lora(folder, config, "owner/tiny")
    adapter = load("owner/lora", ModelOptions(revision="v1")).identity
    base = load("owner/tiny", ModelOptions(revision="v1")).identity

    assert adapter["revision"] == COMMITS["v1"]
    assert adapter["peft"] == {"base": "owner/tiny", "method": "LORA", "revision": COMMITS["v1"]}
    assert adapter["weights"] == base["weights"]  # a LoRA begins as no change


@pytest.mark.usefixtures("cache")
def test_base_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """An adapter whose base model is on a hub that cannot be reached."""
    peft = pytest.importorskip("peft")
    save_lora(tmp_path / "lora", peft.LoraConfig(target_modules=["q_proj"]), "owner/gone")
    with pytest.raises(AdapterError) as error:
        load(str(tmp_path / "lora"), DEFAULT)

    assert str(error.value) == (
        f"model '{tmp_path / 'lora'}' (its base model 'owner/gone') cannot be loaded: it is not in "
        "the local cache and the hub cannot be reached; give a checkpoint folder as "
        "hf:/path/to/folder"
    )


def test_gguf_file_of_the_hub(cache: Path) -> None:
    """NAME:FILE.gguf is one file of a model on the hub, at a revision."""
    pytest.importorskip("gguf")
    model = model_of("llama", hidden_size=64, intermediate_size=96, head_dim=32)
    file = snapshot(cache, "owner/quants", "v1") / "Q8.gguf"
    write_gguf(file, model, tokenizer_of(), "Q8_0")
    on_hub = load("owner/quants:Q8.gguf", ModelOptions(revision="v1")).identity

    assert on_hub["revision"] == COMMITS["v1"]
    assert on_hub["weights"] == load(str(file), DEFAULT).identity["weights"]


def test_hub_tells_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter is told by its files and downloaded alone; an unknown revision is one line."""
    peft = pytest.importorskip("peft")
    save(tmp_path / "base", 0)
    config = peft.LoraConfig(target_modules=["q_proj"])
    save_lora(tmp_path / "lora", config, str(tmp_path / "base"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "lora").iterdir()}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with fake_hub.serving({**files, "notes.txt": b"large"}) as address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        adapter = load(fake_hub.NAME, DEFAULT)
        with pytest.raises(AdapterError, match=r"'owner/moods' has no revision 'v2' on the hub; "):
            locate(fake_hub.NAME, ModelOptions(revision="v2"))

    assert adapter.identity["peft"]["revision"] == fake_hub.SHA
    assert adapter.identity["weights"] == load(str(tmp_path / "base"), DEFAULT).identity["weights"]
    assert not list((tmp_path / "cache").rglob("notes.txt"))


def test_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    """What is not on the hub has no revisions."""
    save(tmp_path, 0)
    with pytest.raises(
        AdapterError, match=r"--revision v1 is for models on the hub, but '/.* leave"
    ):
        load(str(tmp_path), ModelOptions(revision="v1"))


# options that an adapter cannot use

UNUSABLE = [
    (timm_adapter.load, "test_vit", ["trust_remote_code", "device_map"]),
    (torchvision_adapter.load, "resnet18", ["revision", "trust_remote_code", "device_map"]),
    (load_reference, "lm", ["revision", "trust_remote_code", "device_map"]),
    (load_module, "somewhere:net", ["revision", "trust_remote_code", "device_map"]),
]


@pytest.mark.parametrize(("load_one", "name", "options"), UNUSABLE)
def test_option_that_cannot_be_used_is_refused(load_one: Any, name: str, options: Any) -> None:
    """In one line that says what the option is for; none is ignored."""
    values: dict[str, Any] = {"revision": "v1", "trust_remote_code": True, "device_map": "auto"}
    for option in options:
        flag = f"--{option.replace('_', '-')} is for hf:NAME"
        with pytest.raises(AdapterError, match=rf":{name} .*; {flag}"):
            load_one(name, ModelOptions(untrained=True, **{option: values[option]}))


# code in a checkpoint

CONFIG = """
from transformers import LlamaConfig

class LoudConfig(LlamaConfig):
    model_type = "loud"
"""
MODEL = """
from transformers import LlamaForCausalLM
from .configuration_loud import LoudConfig

class LoudForCausalLM(LlamaForCausalLM):
    config_class = LoudConfig

    def __init__(self, config):
        super().__init__(config)
        self.model.norm.register_forward_hook(lambda module, args, output: 2 * output)
"""
CLASSES = ["configuration_loud.LoudConfig", "modeling_loud.LoudForCausalLM"]


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    """Return a checkpoint whose architecture is defined by files in it."""
    folder = tmp_path / "loud"
    save(folder, 0)
    (folder / "configuration_loud.py").write_text(CONFIG)
    (folder / "modeling_loud.py").write_text(MODEL)
    classes = dict(zip(("AutoConfig", "AutoModelForCausalLM"), CLASSES, strict=True))
    config = {**json.loads((folder / "config.json").read_text()), "model_type": "loud"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}))
    return folder


def test_code_of_a_checkpoint_is_not_run_unasked(loud: Path) -> None:
    """Without the option its files are not even imported."""
    (loud / "configuration_loud.py").write_text("raise SystemExit('was run')")
    with pytest.raises(AdapterError) as error:
        load(str(loud), DEFAULT)

    assert str(error.value) == (
        f"model '{loud}' cannot be loaded: it needs Python code of its own, which is never run "
        "unasked; read that code, and if you trust it add --trust-remote-code"
    )


def test_code_of_a_checkpoint_is_run_and_told(loud: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the option the code decides the numbers, is part of the identity, and is logged."""
    options = ModelOptions(trust_remote_code=True)
    with caplog.at_level(logging.WARNING, "deeploc"):
        adapter = load(str(loud), options)
    plain = model_of("llama")
    ids = torch.tensor([[3, 5, 8]])

    assert torch.equal(adapter.model(ids).logits, plain.lm_head(2 * plain.model(ids)[0]))
    assert adapter.identity["remote_code"] == CLASSES
    assert caplog.messages == [f"the Python code in hf:{loud} was run: {', '.join(CLASSES)}"]


def test_code_of_a_checkpoint_decides_its_identity(loud: Path) -> None:
    """A copy is the same model, an edited copy another one; random weights need the code too."""
    options = ModelOptions(trust_remote_code=True)
    first = load(str(loud), options).identity
    copy = load(str(shutil.copytree(loud, loud.parent / "copy")), options).identity
    edited = shutil.copytree(loud, loud.parent / "edited")
    (edited / "modeling_loud.py").write_text(MODEL.replace("2 * output", "3 * output"))
    untrained = load(str(loud), ModelOptions(trust_remote_code=True, untrained=True)).identity

    assert copy == {**first, "model": copy["model"]}
    assert load(str(edited), options).identity["code"] != first["code"]
    assert untrained["code"] == first["code"]
    assert untrained["weights"] != first["weights"]
