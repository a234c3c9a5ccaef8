"""Where in an image units respond, on networks whose units respond where the image is bright."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import deeploc
from deeploc.adapters._sites.grids import Grids
from deeploc.analysis.response_maps import KindMap, kind_maps, read_maps, resampled, why_no_map
from deeploc.core.pictures import ShowsPictures
from deeploc.core.readout import Readout
from deeploc.core.site import Grid
from deeploc.core.units import Layout, UnitMask
from deeploc.stimuli import Stimulus

ROWS, COLUMNS = 32, 48
PATCHES = [(0, 0), (8, 40), (24, 16)]
"""Upper left corners of a bright patch of 8 x 8 pixels, in an image that is not square."""


def as_tensor(image: Image.Image) -> torch.Tensor:
    pixels = np.array(image.resize((COLUMNS, ROWS)), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)


def brightness(n_units: int, stride: int) -> nn.Conv2d:
    """Return a convolution whose units all respond to the mean of a patch, each on its scale."""
    layer = nn.Conv2d(3, n_units, stride, stride, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, n_units + 1).view(-1, 1, 1, 1) / stride**2)
    return layer


def cnn() -> nn.Module:
    """Return a network of two layers with grids of 8 x 12 and 4 x 6."""
    second = nn.Conv2d(4, 4, 2, 2, bias=False)
    with torch.no_grad():
        second.weight.fill_(0.1)
    return nn.Sequential(brightness(4, 4), nn.ReLU(), second, nn.ReLU())


def random_cnn() -> nn.Module:
    """Return a network with the same grids whose units have both signs."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 4, 4), nn.LeakyReLU(0.5), nn.Conv2d(4, 6, 2, 2), nn.Tanh()
    return nn.Sequential(*layers)


def vit() -> nn.Module:
    """Return a transformer with a class token and two registers whose blocks change nothing."""
    made = VisionTransformer(
        img_size=(ROWS, COLUMNS), patch_size=8, embed_dim=8, depth=2, num_heads=2, reg_tokens=2
    )
    made.patch_embed.proj = brightness(8, 8)
    for block in made.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    return made.eval()


@pytest.fixture
def images(tmp_path: Path) -> list[Stimulus]:
    """Return images with one bright patch each, on noise that is all but dark."""
    rng = np.random.default_rng(0)
    stimuli = []
    for number, (row, column) in enumerate(PATCHES):
        pixels = rng.integers(0, 20, (ROWS, COLUMNS, 3), dtype=np.uint8)
        pixels[row : row + 8, column : column + 8] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        stimuli.append(Stimulus(f"{number}.png", tmp_path / f"{number}.png"))
    return stimuli


Made = tuple[Any, dict[str, KindMap], dict[str, np.ndarray], np.ndarray]


def mapped(module: nn.Module, images: list[Stimulus], readout: Readout) -> Made:
    """Return adapter, makers, maps, and by plain NumPy the z of every image and unit."""
    adapter: Any = deeploc.wrap(module, transform=as_tensor, name="bright")
    sites = Layout(tuple(s for s in adapter.sites.sites if s.kind == "block"))
    layout = sites.per_position() if readout.pool == "none" else sites
    (batch,) = adapter.activations(images, layout, readout)
    values = batch.values.astype(float)
    values = np.abs(values) if readout.response == "abs" else values
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    mask = UnitMask(layout, np.random.default_rng(1).random(layout.n_units) < 0.6)
    makers = kind_maps(sites, mask, (mean, sd), readout)
    made = read_maps(adapter, makers, dict.fromkeys(makers, images), images, readout)
    chosen = mask.selected & (sd > 0)
    return adapter, makers, made, ((values - mean) / np.where(sd > 0, sd, 1))[:, chosen]


@pytest.mark.parametrize(("network", "grid"), [(cnn, (8, 12)), (vit, (4, 6))])
def test_the_map_is_largest_where_the_patch_is(
    network: Callable[[], nn.Module], grid: tuple[int, int], images: list[Stimulus]
) -> None:
    """In an image that is not square, also behind a class token and registers."""
    _, _, maps, _ = mapped(network(), images, Readout(pool="mean"))
    height, width = ROWS // grid[0], COLUMNS // grid[1]

    assert maps["block"].shape[1:] == grid
    for values, (row, column) in zip(maps["block"], PATCHES, strict=True):
        r, c = np.unravel_index(values.argmax(), values.shape)
        assert (row <= r * height < row + 8, column <= c * width < column + 8) == (True, True)


@pytest.mark.parametrize("response", ["signed", "abs"])
@pytest.mark.parametrize("pool", ["mean", "none"])
def test_the_mean_of_a_map_is_the_z_of_its_image(
    pool: Any, response: Any, images: list[Stimulus]
) -> None:
    """Over sites of different grids, and of units with negative means where these are counted
    absolutely."""
    _, makers, maps, z = mapped(random_cnn(), images, Readout(pool=pool, response=response))

    assert len(makers["block"].parts) == 2
    np.testing.assert_allclose(maps["block"].mean(axis=(1, 2)), z.mean(axis=1), atol=1e-5)


def test_with_pool_max_the_largest_place_of_a_unit_is_its_z(images: list[Stimulus]) -> None:
    """Unit by unit: the map is the z of the activation before the maximum is taken."""
    adapter, makers, _, z = mapped(random_cnn(), images, Readout(pool="max"))
    parts = makers["block"].parts
    names = Layout(tuple(part.site for part in parts))
    found = []
    for _, positions in adapter.positions(images, names, Readout(pool="max")):
        found.append(
            [
                ((positions[p.site.name][:, unit] - m) / s).max()
                for p in parts
                for unit, m, s in zip(p.units, p.mean, p.sd, strict=True)
            ]
        )

    np.testing.assert_allclose(found, z, atol=1e-5)


def test_tokens_that_the_network_adds_are_no_places(images: list[Stimulus]) -> None:
    """Their part of the mean over positions is what the map lacks."""
    readout = Readout(pool="mean")
    adapter, makers, maps, z = mapped(vit(), images, readout)
    parts = makers["block"].parts
    assert {p.site.grid for p in parts} == {Grid(4, 6, start=3)}
    _, positions = next(adapter.positions(images[:1], Layout((parts[0].site,)), readout))
    added = [p.z_at(positions[parts[0].site.name])[:3].sum() for p in parts]
    weights = [len(p.units) for p in parts]

    total = maps["block"][0].sum() + np.average(added, weights=weights)
    assert total / 27 == pytest.approx(z[0].mean(), abs=1e-5)


def test_a_map_on_another_grid_keeps_its_mean() -> None:
    """Each new place is the mean of its area, by brute force on the finest common grid."""
    x = np.random.default_rng(0).normal(size=(4, 6))
    fine = np.kron(x, np.ones((3, 5)))  # 12 x 30

    np.testing.assert_allclose(
        resampled(x, 3, 10), fine.reshape(3, 4, 10, 3).mean(axis=(1, 3)), atol=1e-12
    )
    np.testing.assert_allclose(resampled(x, 4, 6), x, atol=1e-12)


def test_an_image_with_other_positions_has_no_map(images: list[Stimulus]) -> None:
    """A network without a fixed size may be shown another size than its example."""
    adapter, makers, _, _ = mapped(cnn(), images, Readout(pool="mean"))
    names = Layout(tuple(part.site for part in makers["block"].parts))
    _, positions = next(adapter.positions(images[:1], names, Readout()))

    assert np.isfinite(makers["block"].of(positions)).all()
    shorter = {name: values[:-1] for name, values in positions.items()}
    assert np.isnan(makers["block"].of(shorter)).all()


GRIDS = Grids(2, (64, 96), frozenset({(4, 12), (16, 24)}), {27: (3, 24), 50: (0, 48)})


@pytest.mark.parametrize(
    ("shape", "axis", "grid"),
    [
        ((2, 8, 4, 6), 1, Grid(4, 6)),
        ((2, 4, 6, 8), -1, Grid(4, 6)),
        ((2, 8, 3, 4), 1, Grid(3, 4)),  # borders cut off
        ((2, 8, 4, 12), 1, Grid(4, 12)),  # a convolution that sees neighbours has it
        ((2, 8, 4, 150), 1, None),  # places of patches x patches
        ((2, 27, 8), -1, Grid(4, 6, 3)),
        ((2, 50, 8), -1, Grid(4, 12)),  # tokens at the end
        ((2, 384, 8), -1, Grid(16, 24)),
        ((2, 8, 24), 1, Grid(4, 6)),
        ((2, 23, 8), -1, None),
        ((12, 8, 8), -1, None),  # windows
        ((2, 8), -1, None),
    ],
)
def test_a_grid_is_told_by_maps_and_by_the_shape_of_the_image(
    shape: tuple[int, ...], axis: int, grid: Grid | None
) -> None:
    """Hand-made shapes of an input of 64 x 96."""
    assert GRIDS.at(shape, axis) == grid


def test_stimuli_that_are_no_images_have_no_grid() -> None:
    """Texts have positions, but no places."""
    assert Grids(0, None, frozenset(), {}).at((2, 16, 8), -1) is None


def test_pictures_are_what_the_network_is_shown(images: list[Stimulus]) -> None:
    """Normalization of a transform and of a preprocess is undone, a crop is not."""

    def normalized(image: Image.Image) -> torch.Tensor:
        mean = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
        return (as_tensor(image)[..., 8:] - mean) / 0.25

    adapter = deeploc.wrap(cnn(), transform=normalized, name="bright")
    assert isinstance(adapter, ShowsPictures)
    expected = [np.asarray(Image.open(str(each.content)))[:, 8:] for each in images]
    for picture, pixels in zip(adapter.pictures(images), expected, strict=True):
        np.testing.assert_array_equal(picture, pixels)

    def preprocess(contents: Any) -> torch.Tensor:
        opened = [Image.open(path).convert("RGB") for path in contents]
        return torch.stack([normalized(each) for each in opened])

    own = deeploc.wrap(
        cnn(), preprocess=preprocess, name="bright", example=[str(i.content) for i in images[:2]]
    )
    assert isinstance(own, ShowsPictures)
    (picture,) = own.pictures(images[:1])
    assert picture.shape == expected[0].shape
    assert picture.min() == 0
    assert picture.max() == 255


def test_why_there_is_no_map() -> None:
    """An adapter that shows no positions, the class token, sites without places."""
    adapter = deeploc.wrap(cnn(), transform=as_tensor, name="bright")

    assert "cannot show single positions" in why_no_map(object(), "mean", {}, "block")
    assert "class token" in why_no_map(adapter, "cls", {}, "block")
    assert "not known to be places" in why_no_map(adapter, "mean", {}, "block")
    assert why_no_map(adapter, "mean", {"block": KindMap([])}, "block") == ""
