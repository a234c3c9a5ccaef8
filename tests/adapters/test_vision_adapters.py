"""Adapters of image networks: preparation, predictions, pools that need positions, and loading."""

import json
import pickle
import threading
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from scipy import stats as reference

from deeploc.adapters import timm as timm_adapter
from deeploc.adapters import torchvision as torchvision_adapter
from deeploc.adapters._image.adapter import ImageAdapter
from deeploc.adapters._image.prepare import ImageCache
from deeploc.adapters.hf import load as load_hf
from deeploc.adapters.module import wrap
from deeploc.adapters.reference import load as load_reference
from deeploc.analysis.localization import localize
from deeploc.contrast.model import Contrast
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import AdapterError, ContrastError
from deeploc.stimuli import Stimulus

from .conftest import Shrunk, inputs_of, shaken

UNTRAINED = ModelOptions(untrained=True, device="cpu")


@pytest.fixture(scope="module")
def resnet() -> ImageAdapter:
    adapter = timm_adapter.load("test_resnet", UNTRAINED)
    shaken(adapter.module)
    return adapter


@pytest.fixture(scope="module")
def vit() -> ImageAdapter:
    adapter = timm_adapter.load("test_vit", UNTRAINED)
    shaken(adapter.module)
    return adapter


@pytest.fixture
def passes(resnet: ImageAdapter) -> Iterator[list[int]]:
    """Return a list that grows with the size of every forward pass of ``resnet``."""
    seen: list[int] = []
    hook = resnet.module.register_forward_hook(lambda _m, args, _o: seen.append(len(args[0])))
    yield seen
    hook.remove()


def transform_of(module: torch.nn.Module) -> Any:
    return timm.data.create_transform(**timm.data.resolve_model_data_config(module))


def values(adapter: ImageAdapter, stimuli: list[Stimulus], layout: Layout, pool: str) -> np.ndarray:
    readout = Readout(pool=pool)
    return np.concatenate([b.values for b in adapter.activations(stimuli, layout, readout)])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_images_are_prepared_as_timm_does(name: str, image_files: list[Stimulus]) -> None:
    """Crop, interpolation and normalization are timm's, on images of any shape."""
    adapter = timm_adapter.load(name, UNTRAINED)
    logits = adapter.classify(image_files).logits
    with torch.inference_mode():
        plain = adapter.module(inputs_of(image_files, transform_of(adapter.module)))

    np.testing.assert_allclose(logits, plain, rtol=1e-4, atol=1e-5)


def test_images_are_prepared_as_torchvision_does(image_files: list[Stimulus]) -> None:
    """The preparation is that of the default weights for all weights."""
    adapter = torchvision_adapter.load("squeezenet1_1", UNTRAINED)
    preset = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.transforms()
    with torch.inference_mode():
        plain = adapter.module(inputs_of(image_files, preset))

    np.testing.assert_allclose(adapter.classify(image_files).logits, plain, rtol=1e-4, atol=1e-5)
    assert adapter.classes[281] == ("tabby", "tabby cat", "n02123045")


@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_features_are_what_the_classifier_is_given(
    network: str, image_files: list[Stimulus], request: pytest.FixtureRequest
) -> None:
    """The penultimate features are timm's own ``pre_logits``."""
    adapter = request.getfixturevalue(network)
    module = adapter.module
    with torch.inference_mode():
        maps = module.forward_features(inputs_of(image_files, transform_of(module)))
        plain = module.forward_head(maps, pre_logits=True)

    np.testing.assert_allclose(adapter.classify(image_files).features, plain, rtol=1e-3, atol=1e-5)


def test_predictions_are_computed_once_per_state(
    resnet: ImageAdapter, image_files: list[Stimulus], passes: list[int]
) -> None:
    """Predictions are cached until ablation, stimuli or a weight change."""
    resnet.classify(image_files[:2])
    intact = resnet.classify(image_files)
    assert resnet.classify(list(image_files)) is intact
    assert passes == [2, 4]

    mask = UnitMask(resnet.sites, np.ones(resnet.sites.n_units, dtype=bool))
    with resnet.ablated(Ablation(mask)):
        ablated = resnet.classify(image_files)
        assert resnet.classify(image_files) is ablated
    assert not np.array_equal(ablated.logits, intact.logits)
    assert resnet.classify(image_files) is intact

    with torch.no_grad():
        resnet.module.fc.bias.add_(1.0)
    changed = resnet.classify(image_files)
    np.testing.assert_allclose(changed.logits, intact.logits + 1, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        resnet.module.fc.bias.sub_(1.0)


def test_kept_images_stay_within_their_limit() -> None:
    """The longest unused image goes first."""
    kept = ImageCache(limit=250)
    stimuli = [Stimulus(str(i), Path(str(i))) for i in range(3)]
    image = np.zeros((10, 10, 1), dtype=np.uint8)
    kept.put(stimuli[0], image)
    kept.put(stimuli[1], image)
    assert kept.get(stimuli[0]) is image
    kept.put(stimuli[2], image)

    assert kept.get(stimuli[1]) is None
    assert kept.get(stimuli[0]) is image
    assert kept.size == 200


def test_class_token_is_position_zero(vit: ImageAdapter, image_files: list[Stimulus]) -> None:
    """Pool `cls` is what a plain hook sees at token 0."""
    site = vit.sites.choose(["block"]).sites[-1]
    seen: list[torch.Tensor] = []
    module = vit.module.get_submodule(site.path)
    hook = module.register_forward_hook(lambda _m, _a, out: seen.append(out[:, 0]))
    with torch.inference_mode():
        vit.module(inputs_of(image_files, transform_of(vit.module)))
    hook.remove()

    read = values(vit, image_files, Layout((site,)), "cls")
    np.testing.assert_allclose(read, seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit_relpos", "cait_xxs24_224"])
def test_networks_without_class_token_refuse_cls(name: str, image_files: list[Stimulus]) -> None:
    """Maps have none, nor have patches that are averaged, nor CaiT's before its last blocks."""
    adapter = timm_adapter.load(name, UNTRAINED)

    with pytest.raises(
        AdapterError, match=r"pool 'cls' needs a class token, and site \S+ has none"
    ):
        values(adapter, image_files, adapter.sites, "cls")


def test_images_have_no_last_position(resnet: ImageAdapter) -> None:
    """The message lists the pools of images."""
    with pytest.raises(AdapterError, match=r"'last' does not apply .* mean, max, cls, none"):
        values(resnet, [], resnet.sites, "last")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Stimulus]]:
    """Return two conditions of twelve images of unlike noise."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(1)
    conditions: dict[str, list[Stimulus]] = {"a": [], "b": []}
    for number in range(24):
        name = "ab"[number % 2]
        grain = 4 if name == "a" else 16
        pixels = rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
        path = folder / f"{name}{number}.png"
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        conditions[name].append(Stimulus(path.name, path))
    return conditions


def contrast_of(pool: str) -> Contrast:
    images = {"images": "unused"}
    return Contrast.model_validate(
        {
            "name": "x",
            "title": "x",
            "modality": "image",
            "source": "x",
            "conditions": {"a": images, "b": images},
            "contrast": "a > b",
            "read": {"sites": "block", "pool": pool},
        }
    )


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_every_position_equals_brute_force(name: str, noise: dict[str, list[Stimulus]]) -> None:
    """Statistics of pool `none` are those of all activations stored, to 1e-5."""
    torch.manual_seed(0)
    module = timm.create_model(name).eval().double()  # else two orders of summing differ by more
    adapter = wrap(module, transform=transform_of(module), batch_size=5)
    stat_map = localize(adapter, contrast_of("none"), noise)
    stored = {c: stored_maps(module, adapter.sites, stimuli) for c, stimuli in noise.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of units that never change: t is nan there
        welch = reference.ttest_ind(stored["a"], stored["b"], equal_var=False)

    assert stat_map.layout.n_units == stored["a"].shape[1] > 10_000
    for condition, x in stored.items():
        np.testing.assert_allclose(stat_map.means[condition], x.mean(0), rtol=1e-9, atol=1e-12)
        sd = x.std(0, ddof=1)
        np.testing.assert_allclose(stat_map.sds[condition], sd, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(stat_map.t, np.nan_to_num(welch.statistic), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(stat_map.p, np.nan_to_num(welch.pvalue, nan=1.0), rtol=1e-5)


def stored_maps(module: torch.nn.Module, sites: Layout, stimuli: list[Stimulus]) -> np.ndarray:
    """Return every block's output by plain hooks, (stimulus, position * unit), as float64."""
    seen: list[np.ndarray] = []

    def keep(_module: Any, _args: Any, x: torch.Tensor) -> None:
        last = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
        seen.append(last.flatten(1).numpy())

    paths = [site.path for site in sites.choose(["block"]).sites]
    hooks = [module.get_submodule(p).register_forward_hook(keep) for p in paths]
    with torch.inference_mode():
        module(inputs_of(stimuli, transform_of(module)).double())
    for hook in hooks:
        hook.remove()
    return np.concatenate(seen, axis=1)


@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_shown_positions_are_those_of_pool_none(
    network: str, image_files: list[Stimulus], request: pytest.FixtureRequest
) -> None:
    """What an adapter shows without pooling is what pool `none` counts as units."""
    adapter = request.getfixturevalue(network)
    layout = adapter.sites.choose(["*"])
    pooled = values(adapter, image_files, layout.per_position(), "none")
    shown = dict(adapter.positions(image_files, layout, Readout(pool="none")))
    flat = [
        np.concatenate([shown[i][s.name].ravel() for s in layout.sites])
        for i in range(len(image_files))
    ]

    np.testing.assert_allclose(np.stack(flat), pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_one_position_of_one_unit_can_be_held(
    network: str, image_files: list[Stimulus], request: pytest.FixtureRequest
) -> None:
    """An edit under pool `none` changes exactly that scalar at its site."""
    adapter = request.getfixturevalue(network)
    layout = Layout(adapter.sites.choose(["block"]).sites[:1]).per_position()
    intact = values(adapter, image_files, layout, "none")
    chosen = np.zeros(layout.n_units, dtype=bool)
    chosen[layout.n_units // 2 + 3] = True
    held = Ablation(UnitMask(layout, chosen), offset=np.full(layout.n_units, 2.5))
    with adapter.ablated(held):
        edited = values(adapter, image_files, layout, "none")

    np.testing.assert_array_equal(edited[:, chosen], 2.5)
    np.testing.assert_array_equal(edited[:, ~chosen], intact[:, ~chosen])


def test_order_does_not_depend_on_the_batch(resnet: ImageAdapter, noise: Any) -> None:
    """Every image once, in order, for every batch size."""
    stimuli = noise["a"]
    expected = values(resnet, stimuli, resnet.sites, "mean")
    for size in (1, 5, 100):
        adapter = timm_adapter.load("test_resnet", replace(UNTRAINED, batch_size=size))
        adapter.module.load_state_dict(resnet.module.state_dict())
        read = values(adapter, stimuli, adapter.sites, "mean")
        np.testing.assert_allclose(read, expected, rtol=1e-3, atol=1e-5)


def test_what_is_no_image_is_named(resnet: ImageAdapter, tmp_path: Path) -> None:
    """A broken file, a text; the threads are gone either way."""
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    before = threading.active_count()
    with pytest.raises(ContrastError, match=r"bad\.jpg"):
        values(resnet, [Stimulus("bad", tmp_path / "bad.jpg")], resnet.sites, "mean")
    with pytest.raises(AdapterError, match="stimulus t:1 is a text, but this model takes images"):
        values(resnet, [Stimulus("t:1", "words")], resnet.sites, "mean")

    assert threading.active_count() == before


def test_text_models_refuse_files(image_files: list[Stimulus]) -> None:
    """The reference LM says that it reads text."""
    adapter = load_reference("lm", ModelOptions(device="cpu"))

    with pytest.raises(AdapterError, match=r"wide\.jpg is a file, but this model"):
        list(adapter.activations(image_files, adapter.sites, Readout()))


class Tight(torch.nn.Module):
    """Runs out of memory above two images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("test_resnet")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("too many")
        return self.net(x)


def test_batches_are_halved_until_they_fit(noise: Any) -> None:
    """Every image is read once, in order, after the memory was exhausted."""
    torch.manual_seed(0)
    tight = wrap(Tight().eval(), transform=Shrunk(64), batch_size=7)
    plain = wrap(tight.module.net, transform=Shrunk(64), batch_size=2)
    read = values(tight, noise["a"], tight.sites, "mean")
    expected = values(plain, noise["a"], plain.sites, "mean")

    # float32 sums of up to 1 carry errors of some 1e-8
    np.testing.assert_allclose(read, expected, rtol=1e-3, atol=1e-6)


def test_wrapped_network_classifies(image_files: list[Stimulus]) -> None:
    """A module with a transform: its classes keep their names."""
    torch.manual_seed(0)
    module = shaken(timm.create_model("test_resnet", num_classes=2))
    adapter = wrap(module, transform=Shrunk(96), classes=["cat", "dog"], name="mine")
    with torch.inference_mode():
        plain = module(inputs_of(image_files, Shrunk(96)))

    assert adapter.classes == (("cat",), ("dog",))
    assert wrap(module, transform=Shrunk(96), classes=["dog", "cat"]).identity != adapter.identity
    np.testing.assert_allclose(adapter.classify(image_files).logits, plain, rtol=1e-4, atol=1e-5)


# loading


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=7).state_dict()


def from_file(path: Path, name: str = "test_resnet") -> ImageAdapter:
    return timm_adapter.load(name, ModelOptions(weights=path, device="cpu"))


def zeros(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights that must not be taken."""
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


Wrap = Callable[[dict[str, torch.Tensor]], dict[str, Any]]
FORMS: dict[str, Wrap] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "args": Namespace(lr=0.1)},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
    "state_dict_ema": lambda state: {"state_dict": zeros(state), "state_dict_ema": state},
    "model_ema": lambda state: {
        "model": zeros(state),
        "model_ema": {"n_averaged": torch.tensor(7), **prefixed(state, "module.")},
    },
    "module": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "both": lambda state: {"state_dict": prefixed(state, "_orig_mod.module.")},
}


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_training_are_read(
    form: str, library: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Nested and prefixed weights, averaged ones first; the classes are counted."""
    name = "test_resnet" if library == "timm" else "squeezenet1_1"
    if library == "torchvision":
        torch.manual_seed(5)
        state = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    load = timm_adapter.load if library == "timm" else torchvision_adapter.load
    torch.save(FORMS[form](state), tmp_path / "w.pth")
    adapter = load(name, ModelOptions(weights=tmp_path / "w.pth", device="cpu"))
    loaded = adapter.module.state_dict()

    assert loaded.keys() == state.keys()
    for key, tensor in state.items():
        torch.testing.assert_close(loaded[key], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("half", [True, False])
def test_weights_from_safetensors(
    half: bool, prefix: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """In either precision, with or without the prefix of a wrapper."""
    stored = {k: v.half() if half and v.is_floating_point() else v for k, v in state.items()}
    save_file(prefixed(stored, prefix), tmp_path / "w.safetensors")
    loaded = from_file(tmp_path / "w.safetensors").module.state_dict()

    assert loaded["fc.weight"].shape[0] == 7
    tolerance = 1e-3 if half else 0
    for name, tensor in state.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_untrained_with_a_file_of_weights_is_its_architecture(
    library: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Random weights in the shapes of the file: seven classes, and not one of its tensors."""
    load, name = timm_adapter.load, "test_resnet"
    if library == "torchvision":
        load, name = torchvision_adapter.load, "squeezenet1_1"
        state = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    torch.save(state, tmp_path / "w.pth")
    options = replace(UNTRAINED, weights=tmp_path / "w.pth")
    same = [load(name, options) for _ in range(2)]
    other = load(name, replace(options, seed=1))
    drawn = same[0].module.state_dict()
    matrices = [key for key, tensor in state.items() if tensor.ndim > 1]

    assert {key: tensor.shape for key, tensor in drawn.items()} == {
        key: tensor.shape for key, tensor in state.items()
    }
    assert not any(torch.equal(drawn[key], state[key]) for key in matrices)
    assert same[0].identity == same[1].identity
    assert same[0].identity["weights"] != other.identity["weights"]


def test_file_without_a_state_dict(tmp_path: Path) -> None:
    """The message names the places where one is looked for."""
    torch.save({"teacher": {"a": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(AdapterError, match=r"nor a checkpoint with one under 'state_dict_ema', "):
        from_file(tmp_path / "w.pth")


def test_message_has_a_weight_of_another_name(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Where everything is missing, the message has the name of a weight in the file."""
    torch.save(prefixed(state, "backbone."), tmp_path / "w.pth")
    with pytest.raises(AdapterError, match=r"lacks 'conv1\.0\.weight' .* and has 'backbone\.conv1"):
        from_file(tmp_path / "w.pth")


# networks without classes


def headless_file(folder: Path, library: str) -> ImageAdapter:
    """Return a backbone from a file of weights that has no classifier."""
    torch.manual_seed(5)
    if library == "timm":
        name, head = "test_resnet", "fc."
        module: Any = timm.create_model(name)
    else:
        name, head = "resnet18", "fc."
        module = torchvision.models.resnet18()
    kept = {k: v for k, v in module.state_dict().items() if not k.startswith(head)}
    torch.save(kept, folder / "w.pth")
    load = timm_adapter.load if library == "timm" else torchvision_adapter.load
    return load(name, ModelOptions(weights=folder / "w.pth", device="cpu"))


def headless_folder(folder: Path, name: str) -> ImageAdapter:
    """Return a backbone from a folder in timm's layout."""
    torch.manual_seed(5)
    module = timm.create_model(name, num_classes=0)
    save_file(module.state_dict(), folder / "model.safetensors")
    config = {"architecture": name, "num_classes": 0, "pretrained_cfg": {"num_classes": 0}}
    (folder / "config.json").write_text(json.dumps(config))
    return timm_adapter.load(str(folder), ModelOptions(device="cpu"))


def headless_wrapped(_: Path, name: str) -> Any:
    torch.manual_seed(5)
    module = timm.create_model(name, num_classes=0, global_pool="").eval()
    return wrap(module, transform=transform_of(module))


HEADLESS: dict[str, Callable[[Path], ImageAdapter]] = {
    "timm file": partial(headless_file, library="timm"),
    "torchvision file": partial(headless_file, library="torchvision"),
    "folder of a CNN": partial(headless_folder, name="test_resnet"),
    "folder of a ViT": partial(headless_folder, name="test_vit"),
    "wrapped, unpooled CNN": partial(headless_wrapped, name="test_resnet"),
    "wrapped, unpooled ViT": partial(headless_wrapped, name="test_vit"),
}


@pytest.mark.parametrize("source", HEADLESS)
def test_network_without_classes(source: str, image_files: list[Stimulus], tmp_path: Path) -> None:
    """It is read, its output is its features, and logits are a one-line error."""
    adapter = HEADLESS[source](tmp_path)
    predictions = adapter.classify(image_files)
    preset = torchvision.models.get_model_weights("resnet18").DEFAULT.transforms()
    transform = preset if "torchvision" in source else transform_of(adapter.module)
    with torch.inference_mode():
        output = adapter.module(inputs_of(image_files, transform))
    if output.ndim == 4:
        output = output.mean(dim=(2, 3))
    elif output.ndim == 3:
        output = output.mean(dim=1)

    assert np.isfinite(values(adapter, image_files, adapter.sites, "mean")).all()
    assert adapter.classes == ()
    np.testing.assert_allclose(predictions.features, output, rtol=1e-4, atol=1e-5)
    with pytest.raises(AdapterError, match=r"^the network has no classes, only features; leave ou"):
        _ = predictions.logits


def test_features_of_a_network_without_classes_follow_the_ablation(
    image_files: list[Stimulus], tmp_path: Path
) -> None:
    """What category-probe learns from is that of the ablated network."""
    adapter = headless_file(tmp_path, "timm")
    intact = adapter.classify(image_files).features
    mask = UnitMask(adapter.sites, np.ones(adapter.sites.n_units, dtype=bool))
    with adapter.ablated(Ablation(mask)):
        ablated = adapter.classify(image_files).features

    assert not np.array_equal(intact, ablated)
    np.testing.assert_array_equal(adapter.classify(image_files).features, intact)


def test_architecture_that_has_no_classifier_by_itself(tmp_path: Path) -> None:
    """Weights of a backbone that timm makes without classes fit, and are not counted as some."""
    torch.manual_seed(5)
    arguments: dict[str, Any] = {"img_size": 28, "depth": 2}
    module = timm.create_model("vit_small_patch14_dinov2", **arguments)
    config = {"architecture": "vit_small_patch14_dinov2", "model_args": arguments}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({"model": module.state_dict()}, tmp_path / "w.pth")
    adapter = from_file(tmp_path / "w.pth", "vit_small_patch14_dinov2")

    assert adapter.module.num_classes == 0


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched"),))


def test_pickles_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle with code in it is refused in one line, and the code does not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"fc.weight": Evil()}))

    with pytest.raises(AdapterError, match=r"w\.pth: .*safetensors") as error:
        from_file(tmp_path / "w.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "touched").exists()


def test_weights_that_do_not_fit(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Missing, unknown and differently shaped weights, the first by name."""
    path = tmp_path / "w.safetensors"
    cases = [
        ({k: v for k, v in state.items() if k != "layer1.0.conv1.weight"}, "lacks 'layer1.0.conv1"),
        ({**state, "extra": torch.ones(1)}, "has the unknown 'extra'"),
        ({**state, "bn1.bias": torch.ones(3)}, "has another shape of 'bn1.bias'"),
    ]
    for broken, problem in cases:
        save_file(broken, path)
        with pytest.raises(AdapterError, match=rf"does not fit test_resnet: it {problem}"):
            from_file(path)
    path.write_bytes(b"\x00" * 30)
    with pytest.raises(AdapterError, match="not readable as weights"):
        from_file(path)
    with pytest.raises(AdapterError, match="there is no such file"):
        from_file(tmp_path / "nowhere.safetensors")


def test_config_beside_the_file_is_honoured(tmp_path: Path) -> None:
    """Arguments and preparation are taken from it, if it is about the same architecture."""
    module = timm.create_model("test_resnet", num_classes=3, channels=[16, 16, 32, 32])
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "model_args": {"channels": [16, 16, 32, 32]},
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "mean": [0.1] * 3,
            "label_names": list("abc"),
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    adapter = from_file(tmp_path / "w.safetensors")
    assert adapter.classes == (("a",), ("b",), ("c",))
    assert adapter.identity["preparation"]["input_size"] == [3, 96, 96]
    assert adapter.identity["preparation"]["mean"] == [0.1] * 3

    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "other"}))
    with pytest.raises(AdapterError, match="does not fit test_resnet"):
        from_file(tmp_path / "w.safetensors")


def test_torchvision_weights_from_a_file(tmp_path: Path) -> None:
    """Auxiliary heads may be missing, classes are counted."""
    torch.manual_seed(1)
    module = torchvision.models.shufflenet_v2_x0_5(num_classes=4)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    options = ModelOptions(weights=tmp_path / "w.pth", device="cpu")
    adapter = torchvision_adapter.load("shufflenet_v2_x0_5", options)

    assert adapter.classes == ()
    torch.testing.assert_close(adapter.module.fc.weight, module.fc.weight)


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (timm_adapter.load, "resnet81", r"no architecture 'resnet81'; did you mean timm:resnet"),
        (timm_adapter.load, "./nowhere", r"there is no folder './nowhere'"),
        (torchvision_adapter.load, "resnet19", r"no classifier 'resnet19'; did you mean torchvis"),
        (torchvision_adapter.load, "fcn_resnet50", r"no classifier 'fcn_resnet50'"),
    ],
)
def test_unknown_names_are_one_line(load: Any, name: str, message: str) -> None:
    """With the nearest name there is."""
    with pytest.raises(AdapterError, match=message):
        load(name, UNTRAINED)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline and not cached: one line with what to do, and the flag is what it was before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        AdapterError, match=r"timm:resnet18 cannot be loaded: .*--untrained$"
    ) as error:
        timm_adapter.load("resnet18", ModelOptions(device="cpu"))

    assert "\n" not in str(error.value)
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True


def test_the_hub_is_queried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is unreachable, only its cache is used."""
    queried = []

    class Unreachable:
        def model_info(self, name: str, **_: float) -> None:
            queried.append(name)
            raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "HfApi", Unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AdapterError, match="timm:resnet18 cannot be loaded"):
        timm_adapter.load("resnet18", ModelOptions(device="cpu"))

    assert queried == ["timm/resnet18.a1_in1k"]
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_folder_without_config(tmp_path: Path) -> None:
    """The remedy names both ways in."""
    with pytest.raises(AdapterError, match=r"it has no config\.json; give a folder in timm's"):
        timm_adapter.load(str(tmp_path), UNTRAINED)


@pytest.mark.parametrize("load", [load_hf, load_reference])
def test_models_with_weights_of_their_own_take_no_file(load: Any, tmp_path: Path) -> None:
    """The message says which models take one."""
    with pytest.raises(
        AdapterError, match="--weights FILE is for timm:ARCHITECTURE and torchvision"
    ):
        load("lm", ModelOptions(weights=tmp_path / "w"))


def test_random_weights_are_seeded() -> None:
    """Equal seeds, equal networks; the global stream of random numbers is left alone."""
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    same = [timm_adapter.load("test_resnet", UNTRAINED).identity["weights"] for _ in range(2)]
    other = timm_adapter.load("test_resnet", replace(UNTRAINED, seed=1)).identity["weights"]

    assert same[0] == same[1] != other
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_reference_networks_load(name: str, image_files: list[Stimulus]) -> None:
    """They are called by their own names and know their six classes."""
    adapter = load_reference(name, ModelOptions(device="cpu"))

    assert adapter.identity["model"] == f"reference:{name}"
    assert [names[0] for names in adapter.classes] == [
        *("face", "body", "house", "tool", "car", "letter")
    ]
    assert adapter.classify(image_files).logits.shape == (4, 6)
