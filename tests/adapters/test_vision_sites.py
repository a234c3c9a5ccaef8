"""Sites of networks of images: which are discovered, and that they hold what plain hooks see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from timm.data import create_transform, resolve_model_data_config
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from deeploc.adapters._sites.discover import discover, named_sites
from deeploc.adapters._torch.shape import Widths, unit_axis
from deeploc.adapters.module import wrap
from deeploc.adapters.timm import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.units import Site, UnitMask
from deeploc.stimuli import Stimulus
from deeploc.testing import check_adapter

from .conftest import Shrunk, hooks_of, inputs_of, shaken, values_of

FIRST = {"block": 1, "conv": 1}
MLP = {"mlp-neurons": -1, "mlp": -1}
ATTENTION = {"attention": -1, "heads": -1}
LAST = {"block": -1, **MLP, **ATTENTION, "embedding": -1}

SHIPPED: Mapping[str, Mapping[str, int]] = {
    "test_resnet": FIRST,
    "test_efficientnet": FIRST,
    "test_efficientnet_gn": FIRST,
    "test_nfnet": {**FIRST, "attention": 1},
    "test_byobnet": {**FIRST, "attention": 1},
    "test_convnext": {"block": 1, **MLP, "embedding": 1},
    "test_mambaout": {"block": -1, **MLP, "conv": 1},
    "test_vit": LAST,
    "test_vit_relpos": LAST,
    "test_maxvit": {**FIRST, **ATTENTION, **MLP},
    "test_coatnet": {**FIRST, "attention": 1},
}
"""timm's own test networks: kind of site -> where the units are in its maps (four axes)."""


@dataclass(frozen=True)
class Family:
    """A small network of a family, and for each kind of site where the units are in its maps."""

    make: Callable[[], nn.Module]
    kinds: Mapping[str, int]
    size: int = 64


def of_timm(name: str, kinds: Mapping[str, int], size: int = 64, **options: Any) -> Family:
    return Family(partial(timm.create_model, name, **options), kinds, size)


SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 16, "num_classes": 7}
CAIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
LEVIT = {"img_size": 64, "embed_dim": (16, 24), "key_dim": 8, "num_heads": (2, 3), "depth": (2, 2)}
VIT = {"image_size": 32, "patch_size": 8, "num_layers": 2, "hidden_dim": 16, "mlp_dim": 24}
CONVNEXT = [CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)]

BUILT: Mapping[str, Family] = {
    "swin": Family(partial(SwinTransformer, **SWIN, depths=(2, 2), num_heads=(2, 2)), LAST, 32),
    "cait": of_timm("cait_xxs24_224", LAST, 32, **CAIT),
    "levit": of_timm("levit_128s", {"block": -1, **MLP, **ATTENTION, "conv": 1}, **LEVIT),
    "pvt": of_timm("pvt_v2_b0", {"block": -1, **MLP, **ATTENTION}, depths=(2, 1, 1, 1)),
    "mobilevit": of_timm("mobilevit_xxs", {**FIRST, **MLP, **ATTENTION}),
    "mobilenet": of_timm("mobilenetv3_small_050", FIRST),
    "repghostnet": of_timm("repghostnet_050", FIRST),
    "starnet": of_timm("starnet_s050", FIRST),
    "torchvision-resnet": Family(
        partial(models.ResNet, models.resnet.BasicBlock, [1, 1, 1, 1]), FIRST
    ),
    "torchvision-convnext": Family(
        partial(models.ConvNeXt, CONVNEXT), {"block": 1, **MLP, "embedding": 1}
    ),
    "torchvision-vit": Family(
        partial(models.VisionTransformer, num_heads=2, **VIT),
        {"block": -1, "attention": -1, **MLP, "embedding": 1},
        32,
    ),
    "torchvision-swin": Family(
        partial(models.SwinTransformer, [2, 2], 16, [2, 2], [2, 2], [4, 4]),
        {"block": -1, "attention": -1, **MLP, "embedding": -1},
        32,
    ),
    "squeezenet": Family(partial(models.SqueezeNet, "1_1"), FIRST),
    "shufflenet": Family(partial(models.ShuffleNetV2, [2, 2, 2], [8, 16, 24, 32, 48]), FIRST),
    "densenet": Family(partial(models.DenseNet, 8, (2, 2), 8), FIRST),
    "googlenet": Family(
        partial(models.GoogLeNet, aux_logits=False, init_weights=False), {"block": 1}
    ),
    "alexnet": Family(models.AlexNet, {"block": 1}),
}


@dataclass(frozen=True)
class Network:
    """An adapter of a family, and its input as prepared without deeploc."""

    adapter: Any
    inputs: Tensor
    kinds: Mapping[str, int]

    @torch.inference_mode()
    def seen(self, number: int) -> list[Tensor]:
        """Return what plain hooks see at every site as one image runs, as (position, unit)."""
        sites, module = self.adapter.sites.scalars().sites, self.adapter.module.eval()
        tensors: dict[str, Tensor] = {}
        handles = []
        for site in sites:
            submodule, keep = module.get_submodule(site.path), partial(self._keep, tensors, site)
            hook = partial(lambda keep, *called: keep(called[-1]), keep)
            if site.tap == "input":
                handles.append(submodule.register_forward_pre_hook(hook))
            else:
                handles.append(submodule.register_forward_hook(hook))
        module(self.inputs[number : number + 1].contiguous(memory_format=torch.channels_last))
        for handle in handles:
            handle.remove()
        return [tensors[site.name] for site in sites]

    def _keep(self, tensors: dict[str, Tensor], site: Site, value: Any) -> None:
        assert site.name not in tensors, f"{site.name} runs twice"
        x = value[0] if isinstance(value, tuple) else value
        last = x.movedim(self.kinds[site.kind], -1) if x.ndim == 4 else x
        tensors[site.name] = last.flatten(0, -2).clone()


@pytest.fixture(scope="session", params=[*SHIPPED, *BUILT])
def network(request: pytest.FixtureRequest, image_files: list[Stimulus]) -> Network:
    name = request.param
    if name in SHIPPED:
        shipped = load(name, ModelOptions(untrained=True))
        shaken(shipped.module)
        transform = create_transform(**resolve_model_data_config(shipped.module))
        return Network(shipped, inputs_of(image_files, transform), SHIPPED[name])
    family = BUILT[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = shaken(family.make())
    adapter = wrap(module, transform=Shrunk(family.size))
    return Network(adapter, inputs_of(image_files, Shrunk(family.size)), family.kinds)


def test_keeps_the_contract(network: Network, image_files: list[Stimulus]) -> None:
    """Whatever the architecture; and no hook is left behind."""
    check_adapter(network.adapter, image_files)

    assert set(hooks_of(network.adapter.module)) == {(0, 0)}


def test_kinds_of_site(network: Network) -> None:
    """An architecture has the kinds that its parts let one expect, and no others."""
    assert set(network.adapter.sites.kinds) == set(network.kinds)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_reads_what_plain_hooks_see(
    network: Network, image_files: list[Stimulus], pool: str
) -> None:
    """Over all positions of every site, a batch against each of its images alone."""
    seen = [network.seen(number) for number in range(len(image_files))]
    layout = network.adapter.sites.scalars()
    values = values_of(network.adapter, image_files, layout, pool=pool)
    for site, tensors in zip(layout.sites, zip(*seen, strict=True), strict=True):
        pooled = [x.mean(0) if pool == "mean" else x.amax(0) for x in tensors]
        expected = torch.stack(pooled).numpy()
        scale = np.abs(expected).max() or 1.0
        columns = layout.slices[site.name]

        assert (site.n_positions, site.n_units) == tensors[0].shape
        np.testing.assert_allclose(
            values[:, columns] / scale, expected / scale, atol=2e-5, err_msg=site.name
        )


def test_silences_the_selected_units_only(network: Network) -> None:
    """Zero at every position of every site; the others of the first site stay to the last bit."""
    layout = network.adapter.sites.scalars()
    chosen = np.concatenate([np.arange(site.n_units) % 3 == 0 for site in layout.sites])
    intact = network.seen(1)
    with network.adapter.ablated(Ablation(UnitMask(layout, chosen))):
        ablated = network.seen(1)
    others = np.arange(layout.sites[0].n_units) % 3 != 0

    assert intact[0][:, ::3].any()
    assert not any(x[:, ::3].any() for x in ablated)
    assert torch.equal(ablated[0][:, others], intact[0][:, others])


# the axis of the units

widths = st.builds(
    Widths,
    st.frozensets(st.integers(1, 64), max_size=4),
    st.frozensets(st.integers(1, 64), max_size=4),
)


@given(st.integers(1, 4), st.integers(1, 64), st.integers(1, 64), widths)
def test_square_maps_decide_the_axis(batch: int, units: int, side: int, nearby: Widths) -> None:
    """The axis of another length than the two others is that of the units."""
    assume(units != side)

    assert unit_axis((batch, units, side, side), nearby) == 1
    assert unit_axis((batch, side, side, units), nearby) == -1


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), widths)
def test_without_rows_and_columns_units_are_last(shape: list[int], nearby: Widths) -> None:
    """Tokens (batch, position, unit) and vectors (batch, unit)."""
    assert unit_axis(tuple(shape), nearby) == -1


class Weights(nn.Module):
    """Has a layer whose weights it uses without calling it, as torchvision's Swin does."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Conv2d(3, 8, 1), (2, 8, 8, 8), 1),
        (nn.Conv2d(8, 8, 3, groups=8), (2, 8, 5, 7), 1),
        (nn.ConvTranspose2d(8, 3, 1), (2, 8, 5, 7), 1),
        (nn.Linear(8, 3), (2, 8, 8, 8), -1),
        (nn.Linear(3, 8), (2, 5, 7, 8), -1),
        (Weights(), (2, 8, 8, 8), -1),
        (nn.BatchNorm2d(8), (2, 8, 8, 8), 1),
        (nn.ReLU(), (2, 8, 5, 7), 1),
        (nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(8, 32)), (2, 8, 8, 8), 1),
    ],
)
def test_layers_decide_the_axis_where_sizes_do_not(
    layer: nn.Module, shape: tuple[int, ...], axis: int
) -> None:
    """As many units as rows, or three different sizes."""
    assert unit_axis(shape, Widths.within(layer)) == axis


# the module tree


class Residual(nn.Module):
    """Two convolutions; returns a tensor, or the ``form`` (tuple, list) it makes of it."""

    def __init__(self, width: int = 4, form: Callable[[list[Any]], Any] | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.form = form

    def forward(self, x: Any) -> Any:
        x = x if isinstance(x, Tensor) else x[0]
        y = x + self.conv2(self.act(self.conv1(x)))
        return y if self.form is None else self.form([y, torch.ones(1), "rest"])


class First(nn.Module):
    def forward(self, x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else x[0]


def net(*middle: nn.Module) -> nn.Module:
    """Return a classifier of three classes around ``middle``, whose maps have 4 channels."""
    head = (First(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 1), *middle, *head)


def discovered(module: nn.Module, size: int = 8) -> list[tuple[str, str]]:
    images = torch.rand(2, 3, size, size)
    layout = discover(module.eval(), lambda: module(images), len(images))
    return [(site.kind, site.name) for site in layout.sites]


def blocks(module: nn.Module, size: int = 8) -> list[str]:
    return [name for kind, name in discovered(module, size) if kind == "block"]


@pytest.mark.parametrize("form", [None, tuple, list])
def test_blocks_may_return_several_values(form: Any, image_files: list[Stimulus]) -> None:
    """The first tensor of a tuple or list is read and edited; the rest passes through."""
    module = net(Residual(4, form), Residual(4, form))
    plain = net(Residual(4), Residual(4))
    plain.load_state_dict(module.state_dict())
    adapter: Any = wrap(module, transform=Shrunk(8))
    reference: Any = wrap(plain, transform=Shrunk(8))
    chosen = np.arange(adapter.sites.n_units) % 4 == 1

    assert adapter.sites == reference.sites
    assert blocks(module) == ["1", "2"]
    with (
        adapter.ablated(Ablation(UnitMask(adapter.sites, chosen))),
        reference.ablated(Ablation(UnitMask(adapter.sites, chosen))),
    ):
        np.testing.assert_array_equal(
            values_of(adapter, image_files, adapter.sites, pool="mean"),
            values_of(reference, image_files, adapter.sites, pool="mean"),
        )


class Stage(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.down = nn.Conv2d(4, 4, 1)
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(self.down(x))


def test_stages_are_looked_into() -> None:
    """Blocks lie in stages; a stage may have a single one."""
    module = net(Stage(Residual(), Residual()), Stage(Residual()))

    assert blocks(module) == ["1.parts.0", "1.parts.1", "2.parts.0"]


class Fork(nn.Module):
    """Two parts of one kind that take the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Residual(), Residual()

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


def test_branches_of_one_input_are_no_stage() -> None:
    """They are parts of a block, for neither follows the other."""
    assert blocks(net(Fork(), Fork(), Fork())) == ["1", "2", "3"]


def test_convolutions_are_read_behind_their_activation() -> None:
    """Within a block and outside; a block's own output is not listed twice."""
    module = net(nn.BatchNorm2d(4), nn.ReLU(), Residual(), Residual())

    assert discovered(module) == [
        ("conv", "2"),
        ("conv", "3.act"),
        ("block", "3"),
        ("conv", "4.act"),
        ("block", "4"),
    ]


class Functional(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.conv1(x)))


def test_functional_activations_are_passed_over() -> None:
    """What no module returns cannot be read; the modules beside it still are."""
    assert discovered(net(Functional(), Functional())) == [("block", "1"), ("block", "2")]
    assert ("conv", "1.act") in discovered(net(Residual(), Functional(), Functional()))


def test_reused_activation_is_read_where_its_result_enters(image_files: list[Stimulus]) -> None:
    """ResNets of torchvision call one ReLU twice per block: the next layer's input is read."""
    module = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1]).eval()
    adapter: Any = wrap(module, transform=Shrunk(32))
    site = next(site for site in adapter.sites.sites if site.name == "layer2.0.conv2:input")
    calls: list[Tensor] = []
    handle = module.layer2[0].relu.register_forward_hook(
        lambda _m, _a, out: calls.append(out.clone())
    )
    with torch.no_grad():
        module(inputs_of(image_files, Shrunk(32)))
    handle.remove()
    values = values_of(adapter, image_files, adapter.sites.choose([site.name]), pool="mean")

    assert (site.kind, len(calls)) == ("conv", 2)
    np.testing.assert_allclose(values, calls[0].mean((2, 3)), rtol=1e-4, atol=1e-6)
    assert np.abs(values - calls[1].mean((2, 3)).numpy()).max() > 0.01


def test_plain_stacks_of_convolutions() -> None:
    """AlexNet, and a VGG with normalization: every convolution behind its ReLU is a block."""
    vgg = models.vgg.make_layers([4, "M", 4, 4], batch_norm=True)

    assert blocks(models.AlexNet(), 64) == [f"features.{n}" for n in (1, 4, 7, 9, 11)]
    assert discovered(nn.Sequential(vgg, nn.Flatten(), nn.Linear(64, 3))) == [
        ("block", "0.2"),
        ("block", "0.6"),
        ("block", "0.9"),
    ]


def test_fire_modules() -> None:
    """SqueezeNet's blocks, distinguished from the pools between them."""
    module = models.SqueezeNet("1_1")

    assert blocks(module, 64) == [f"features.{n}" for n in (3, 4, 6, 7, 9, 10, 11, 12)]


def test_any_module_may_be_named() -> None:
    """Its output or its input, by its path."""
    module = net(Residual(), Residual())
    images = torch.rand(2, 3, 8, 8)
    wanted = ["1.conv2:input", "0"]
    layout = named_sites(module, wanted, lambda: module(images), 2)

    assert [site.name for site in layout.sites] == wanted
    assert [(s.n_units, s.n_positions, s.axis) for s in layout.sites] == [(4, 64, 1)] * 2
