"""Models that accelerate spreads over devices and the disk: equal to those in one place."""

import gc
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters.hf import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError

from .conftest import LISTS, SENTENCES, hooks_of, model_of, texts, tokenizer_of, values_of
from .gguf_files import write_gguf

pytest.importorskip("accelerate")

STIMULI = texts(SENTENCES + LISTS)
Make = Callable[..., HFAdapter]


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights on the disk lie in a folder of the test, which is empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    gc.collect()

    assert not list(folder.glob("deeploc-*"))


def map_of(folder: Path, model: Any, disk: str) -> str:
    """Write a device map: modules whose path matches ``disk`` are on the disk, others not."""
    own = (path for path, m in model.named_modules() if m._parameters or not [*m.children()])
    devices = {path: "disk" if re.search(disk, path) else "cpu" for path in own}
    file = folder / "devices.json"
    file.write_text(json.dumps(devices))
    return str(file)


def as_in_one_place(spread: HFAdapter, whole: HFAdapter) -> None:
    """Assert that two adapters read, ablate, score and generate bit for bit the same."""
    assert spread.identity == whole.identity
    assert spread.sites == whole.sites
    numbers = np.arange(whole.sites.n_units)
    ablation = Ablation(UnitMask(whole.sites, numbers % 5 == 0), gain=-0.5)
    requests = [TextRequest(SENTENCES[0], " sang"), TextRequest("", SENTENCES[1])]
    found = []
    for adapter in (spread, whole):
        intact = values_of(adapter, STIMULI, adapter.sites, pool="mean")
        said = [adapter.score(requests), adapter.generate("the old", Sampling(3))]
        with adapter.ablated(ablation):
            edited = values_of(adapter, STIMULI, adapter.sites, pool="mean")
            said += [adapter.score(requests), adapter.generate("the old", Sampling(3))]
        found.append((intact, edited, said))
    for first, second in zip(found[0][:2], found[1][:2], strict=True):
        np.testing.assert_array_equal(first, second)
    assert found[0][2] == found[1][2]
    assert not np.array_equal(*found[0][:2])


@pytest.mark.parametrize(
    ("disk", "tied"),
    [
        ("everything", False),
        ("everything", True),
        ("embed_tokens", False),
        ("embed_tokens|lm_head", True),
        ("layers.1|mlp", False),
    ],
)
def test_weights_on_the_disk(disk: str, tied: bool, tmp_path: Path) -> None:
    """Read, ablated, hashed and scored as in memory, with tied embeddings too."""
    model = model_of("llama", tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    tokenizer_of(bos=True).save_pretrained(tmp_path)
    device_map = "disk" if disk == "everything" else map_of(tmp_path, model, disk)
    spread = load(str(tmp_path), ModelOptions(device_map=device_map))

    assert any(parameter.is_meta for parameter in spread.model.parameters())
    as_in_one_place(spread, load(str(tmp_path), ModelOptions()))


def test_experts_on_the_disk(tmp_path: Path) -> None:
    """Experts and routers whose weights are loaded for each pass are found, read and ablated."""
    model = model_of("mixtral")
    model.save_pretrained(tmp_path)
    tokenizer_of(bos=True).save_pretrained(tmp_path)
    spread = load(str(tmp_path), ModelOptions(device_map=map_of(tmp_path, model, "layers.1")))

    assert {"experts", "router"} <= set(spread.sites.kinds)
    as_in_one_place(spread, load(str(tmp_path), ModelOptions()))


def test_hooks_of_accelerate_are_kept(adapter_of: Make) -> None:
    """What an ablation adds is removed, what accelerate attached is there as before."""
    adapter = adapter_of("gpt2", device_map="disk")

    def attached() -> list[tuple[Any, ...]]:
        modules = list(adapter.model.modules())
        return [(vars(m).get("_hf_hook"), vars(m).get("forward")) for m in modules]

    before, hooks = attached(), hooks_of(adapter.model)
    mask = UnitMask(adapter.sites, np.ones(adapter.sites.n_units, dtype=bool))
    with adapter.ablated(Ablation(mask)):
        values = values_of(adapter, STIMULI, adapter.sites)
        assert attached() != before

    assert (values == 0).all()
    assert attached() == before
    assert hooks_of(adapter.model) == hooks


@pytest.mark.parametrize("device_map", ["auto", "balanced", "sequential", "cpu"])
def test_map_that_needs_no_disk(device_map: str, adapter_of: Make) -> None:
    """On a machine with one device a strategy changes nothing."""
    as_in_one_place(adapter_of("gpt2", device_map=device_map), adapter_of("gpt2"))


def test_random_weights_are_spread_too(adapter_of: Make) -> None:
    """The untrained model of a seed is the same wherever it is."""
    spread = adapter_of("gpt2", device_map="disk", untrained=True, seed=2)

    as_in_one_place(spread, adapter_of("gpt2", untrained=True, seed=2))


def test_decoded_weights_are_spread_too(tmp_path: Path) -> None:
    """A GGUF file is decoded first, by a strategy or a map."""
    pytest.importorskip("gguf")
    model = model_of("llama", hidden_size=64, intermediate_size=96, head_dim=32)
    file = str(tmp_path / "model.gguf")
    write_gguf(Path(file), model, tokenizer_of(), "Q8_0")
    whole = load(file, ModelOptions())
    as_in_one_place(load(file, ModelOptions(device_map=map_of(tmp_path, model, "mlp"))), whole)
    as_in_one_place(load(file, ModelOptions(device_map="auto")), whole)


FAULTS = {
    '{"model": ': r"--device-map .*devices.json cannot be read: ",
    '["cpu"]': r"must hold a mapping of module paths to devices, e\.g\. ",
    '{"transformer": [1]}': r"must hold a mapping of module paths to devices, e\.g\. ",
    '{"": "cuda:77"}': r"model .* cannot be loaded: ",
}


@pytest.mark.parametrize("content", FAULTS)
def test_map_that_cannot_be_used(content: str, adapter_of: Make, tmp_path: Path) -> None:
    """One line that says what is wrong with the file."""
    file = tmp_path / "devices.json"
    file.write_text(content)
    with pytest.raises(AdapterError, match=FAULTS[content]) as error:
        adapter_of("gpt2", device_map=str(file))

    assert "\n" not in str(error.value)


def test_device_beside_a_map_is_refused(adapter_of: Make) -> None:
    """Both say where the model goes; a device that is absent is told as always."""
    with pytest.raises(AdapterError, match="--device cpu and --device-map auto both say where"):
        adapter_of("gpt2", device="cpu", device_map="auto")
    with pytest.raises(AdapterError, match="device 'tpu9' is not available; available: "):
        adapter_of("gpt2", device_map="tpu9")
