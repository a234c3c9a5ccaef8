"""Networks of images as adapters: pools, preparation, answers, order, errors, modules in hand."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats as reference
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from torchvision import models, transforms

from deeploc.ablation import Ablation
from deeploc.adapter import Classifies, ModelOptions
from deeploc.adapters import _pictures, _vision
from deeploc.adapters import timm as timm_adapter
from deeploc.adapters import torchvision as torchvision_adapter
from deeploc.adapters._pictures import Kept, Pictures, Preparation
from deeploc.adapters.module import wrap
from deeploc.contrast import Contrast, Readout
from deeploc.errors import AdapterError, ContrastError
from deeploc.localization import localize
from deeploc.stimuli import Stimulus
from deeploc.testing import check_adapter
from deeploc.units import Layout, Site, UnitMask

from .conftest import Shrunk, hooks_of, inputs_of, shaken, texts, values_of

UNTRAINED = ModelOptions(untrained=True)


def small_vit(**options: Any) -> nn.Module:
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=5, **{**size, **options})


def wrapped(module: nn.Module, size: int = 32, **options: Any) -> Any:
    return wrap(shaken(module), transform=Shrunk(size), **options)


@pytest.fixture(scope="module")
def resnet() -> Any:
    return wrapped(timm.create_model("test_resnet", num_classes=5))


@pytest.fixture(scope="module")
def vit() -> Any:
    return wrapped(small_vit())


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Stimulus]]:
    """Return two conditions of small images, the first redder than the second."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    conditions: dict[str, list[Stimulus]] = {"red": [], "blue": []}
    for number in range(11):
        name, path = ("red", "blue")[number % 2], folder / f"{number}.png"
        pixels = rng.integers(0, 200, (12, 10, 3), dtype=np.uint8)
        pixels[..., 0 if name == "red" else 2] += 50
        Image.fromarray(pixels).save(path)
        conditions[name].append(Stimulus(path.name, path))
    return conditions


def contrast(**read: Any) -> Contrast:
    return Contrast.model_validate(
        {
            "name": "red",
            "title": "Red > blue",
            "modality": "image",
            "source": "made up for the tests",
            "conditions": {"red": {"images": ["r/*"]}, "blue": {"images": ["b/*"]}},
            "contrast": "red > blue",
            "read": read,
        }
    )


@torch.inference_mode()
def seen(adapter: Any, path: str, stimuli: Sequence[Stimulus], size: int = 32) -> Tensor:
    """Return what a plain hook sees a module return."""
    tensors: list[Tensor] = []
    module = adapter.module.get_submodule(path)
    handle = module.register_forward_hook(lambda *called: tensors.append(called[-1].clone()))
    images = inputs_of(stimuli, Shrunk(size)).contiguous(memory_format=torch.channels_last)
    adapter.module.eval()(images)
    handle.remove()
    return tensors[0]


# pool none

EVERYWHERE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "resnet": ("layer2.0", lambda x: x.permute(0, 2, 3, 1)),
    "vit": ("blocks.1", lambda x: x),
}
"""Network -> a block, and its activations as (image, positions..., unit)."""


@pytest.mark.parametrize("network", EVERYWHERE)
def test_every_position_equals_brute_force(
    network: str, noise: dict[str, list[Stimulus]], request: pytest.FixtureRequest
) -> None:
    """t, df, p, means and sds of every unit at every position, as SciPy has them."""
    adapter = request.getfixturevalue(network)
    site, ordered = EVERYWHERE[network]
    found = localize(adapter, contrast(sites=[site], pool="none"), noise)
    stored = {
        name: ordered(seen(adapter, site, stimuli)).flatten(1).double().numpy()
        for name, stimuli in noise.items()
    }
    expected = reference.ttest_ind(stored["red"], stored["blue"], equal_var=False)
    varies = np.isfinite(expected.statistic)

    assert varies.mean() > 0.5
    assert len(found.t) == stored["red"].shape[1]
    for ours, theirs in (
        (found.t, expected.statistic),
        (found.df, expected.df),
        (found.p, expected.pvalue),
    ):
        np.testing.assert_allclose(ours[varies], theirs[varies], rtol=1e-5, atol=1e-5)
    for name, values in stored.items():
        np.testing.assert_allclose(found.means[name], values.mean(0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.sds[name], values.std(0, ddof=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize("network", EVERYWHERE)
def test_one_position_of_one_unit_is_ablated(
    network: str, mode: str, noise: dict[str, list[Stimulus]], request: pytest.FixtureRequest
) -> None:
    """Exactly that scalar becomes exactly its own mean, or zero."""
    adapter = request.getfixturevalue(network)
    site, ordered = EVERYWHERE[network]
    found = localize(adapter, contrast(sites=[site], pool="none"), noise)
    intact = ordered(seen(adapter, site, noise["red"]))
    n_units, position, unit = intact.shape[-1], 7, 3
    chosen = np.arange(len(found.t)) == position * n_units + unit
    with adapter.ablated(Ablation.of(mode, UnitMask(found.layout, chosen), found)):
        ablated = ordered(seen(adapter, site, noise["red"]))

    expected = intact.flatten(1, -2).clone()
    value = np.float32(found.baseline[chosen][0]) if mode == "mean" else np.float32(0)
    assert (expected[:, position, unit] != value.item()).any()
    expected[:, position, unit] = value.item()
    assert torch.equal(ablated.flatten(1, -2), expected)


def test_every_position_is_read_in_bounded_batches(
    resnet: Any, noise: dict[str, list[Stimulus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images fit a forward pass, no more activations than the limit are held."""
    layout = resnet.sites.choose(["layer1.0"]).per_position()
    monkeypatch.setattr(_vision, "_VALUES", 2 * layout.n_units + 1)
    batches = list(resnet.activations(noise["red"], layout, Readout(pool="none")))

    assert [len(batch.indices) for batch in batches] == [2, 2, 2]


def test_texts_have_no_fixed_positions(adapter_of: Callable[..., Any]) -> None:
    """Pool none is refused by a language model, in one line."""
    stimuli = {"red": texts(["a b", "c d"]), "blue": texts(["e f", "g h"])}
    with pytest.raises(AdapterError, match=r"^pool 'none' needs a fixed number .* mean or max$"):
        localize(adapter_of("gpt2"), contrast(pool="none"), stimuli)


# pool cls


def test_class_token_is_the_first(vit: Any, pictures: list[Stimulus]) -> None:
    """Token 0 of every kind of site."""
    sites = vit.sites.choose(["blocks.0", "blocks.1", "blocks.1.attn"])
    values = values_of(vit, pictures, sites, pool="cls")
    for site in sites.sites:
        expected = seen(vit, site.path, pictures)[:, 0]
        np.testing.assert_allclose(values[:, sites.slices[site.name]], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "site"),
    [
        (lambda: timm.create_model("test_resnet"), "layer1.0"),
        (lambda: small_vit(class_token=False, global_pool="avg"), "blocks.0"),
        (
            lambda: timm.create_model(
                "cait_xxs24_224", img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2
            ),
            "blocks.0",
        ),
    ],
    ids=["cnn", "vit-without", "cait-patches"],
)
def test_class_token_is_missed(
    make: Callable[[], nn.Module], site: str, pictures: list[Stimulus]
) -> None:
    """Maps, patches without one, and patches that meet theirs only later: refused by name."""
    adapter = wrapped(make())
    message = rf"^pool 'cls' needs a class token, and site {site} has none; .* other sites$"
    with pytest.raises(AdapterError, match=message):
        values_of(adapter, pictures, adapter.sites.choose([site]), pool="cls")


def test_images_have_no_last_position(resnet: Any, pictures: list[Stimulus]) -> None:
    """The default pool of texts is refused, not silently taken for another."""
    with pytest.raises(AdapterError, match=r"^pool 'last' does not apply .* mean, max, cls, none"):
        values_of(resnet, pictures, resnet.sites)


# preparation


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, pictures: list[Stimulus]) -> list[Stimulus]:
    """Return the pictures, a single pixel and a photograph's worth of them."""
    folder = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(1)
    for name, shape in (("pixel.png", (1, 1, 3)), ("large.jpg", (451, 300, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return [*pictures, *(Stimulus(p.name, p) for p in sorted(folder.iterdir()))]


class Stopped(Exception):
    pass


def shown(adapter: Any, stimuli: Sequence[Stimulus]) -> Tensor:
    """Return what the network is given for some stimuli, without running it."""
    given: list[Tensor] = []

    def stop(_: nn.Module, args: tuple[Tensor]) -> None:
        given.append(args[0].clone())
        raise Stopped

    handle = adapter.module.register_forward_pre_hook(stop)
    with pytest.raises(Stopped):
        list(adapter.activations(stimuli, Layout(()), Readout(pool="mean")))
    handle.remove()
    return given[0]


CONFIGURED = {
    "default": {},
    "squashed": {"crop_mode": "squash", "interpolation": "bilinear", "crop_pct": 1.0},
    "bordered": {"crop_mode": "border", "crop_pct": 0.9},
    "wide": {"input_size": [3, 40, 56], "crop_pct": 0.8, "interpolation": "lanczos"},
    "scaled": {"mean": [0.1, 0.2, 0.3], "std": [0.9, 1.0, 1.1], "input_size": [3, 33, 33]},
}


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a folder in timm's layout, for test_resnet."""
    import json

    def write(**config: Any) -> Path:
        own = {"input_size": [3, 64, 64], "num_classes": 5, "classifier": "fc", **config}
        told = {"architecture": "test_resnet", "num_classes": 5, "pretrained_cfg": own}
        (tmp_path / "config.json").write_text(json.dumps(told))
        return tmp_path

    return write


@pytest.mark.parametrize("config", CONFIGURED)
def test_prepares_as_timm_does(
    config: str, configured: Callable[..., Path], odd: list[Stimulus]
) -> None:
    """What timm's own evaluation transform makes of the same files."""
    adapter = timm_adapter.load(str(configured(**CONFIGURED[config])), UNTRAINED)
    transform: Any = create_transform(**resolve_model_data_config(adapter.module))
    expected = inputs_of(odd, transform)

    assert tuple(expected.shape[1:]) == tuple(CONFIGURED[config].get("input_size", (3, 64, 64)))
    np.testing.assert_allclose(shown(adapter, odd), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_vit"])
def test_prepares_as_the_architecture_says(name: str, odd: list[Stimulus]) -> None:
    """Without a file of its own, the default configuration of the architecture."""
    adapter = timm_adapter.load(name, UNTRAINED)
    config = resolve_model_data_config(timm.create_model(name))

    expected = inputs_of(odd, create_transform(**config))
    np.testing.assert_allclose(shown(adapter, odd), expected, rtol=0, atol=1e-6)
    assert adapter.identity["preparation"]["input_size"] == list(config["input_size"])


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf"])
def test_prepares_as_torchvision_does(name: str, odd: list[Stimulus]) -> None:
    """What the transforms that come with the default weights make of the same files."""
    adapter = torchvision_adapter.load(name, UNTRAINED)
    transform = models.get_model_weights(name).DEFAULT.transforms()

    expected = inputs_of(odd, transform)
    np.testing.assert_allclose(shown(adapter, odd), expected, rtol=0, atol=1e-6)


# answers


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_convnext", "test_nfnet", "mobilenetv3_small_050"]
)
def test_answers_are_those_of_the_plain_model(name: str, pictures: list[Stimulus]) -> None:
    """Logits of the model itself, features of timm's own `pre_logits`."""
    adapter = timm_adapter.load(name, UNTRAINED)
    module: Any = shaken(adapter.module)
    images = inputs_of(pictures, create_transform(**resolve_model_data_config(module)))
    answers = adapter.classify(pictures)
    with torch.inference_mode():
        logits = module(images)
        features = module.forward_head(module.forward_features(images), pre_logits=True)

    assert isinstance(adapter, Classifies)
    assert len(adapter.classes) == answers.logits.shape[1] == 1000
    np.testing.assert_allclose(answers.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answers.features, features, rtol=1e-4, atol=1e-4)
    assert np.ptp(answers.logits, axis=0).max() > 1e-3


def test_features_before_a_classifier_that_is_a_convolution(pictures: list[Stimulus]) -> None:
    """SqueezeNet scores every position; its features are the mean over them."""
    adapter = wrapped(models.SqueezeNet("1_1", num_classes=5))
    with torch.inference_mode():
        images = inputs_of(pictures, Shrunk(32))
        features = adapter.module.features(images).mean((2, 3))
        logits = adapter.module(images)
    answers = adapter.classify(pictures)

    np.testing.assert_allclose(answers.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers.logits, logits, rtol=1e-4, atol=1e-5)


@pytest.fixture
def counted(resnet: Any) -> Iterator[tuple[Any, list[int]]]:
    """Return an adapter, and a list that gets the size of every batch its network runs."""
    adapter = wrap(copy.deepcopy(resnet.module), transform=Shrunk(32))
    sizes: list[int] = []
    adapter.module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    adapter.classify([])
    sizes.clear()
    return adapter, sizes
