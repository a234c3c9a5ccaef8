import itertools
import math
import random
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeploc.cache import cache_root
from deeploc.errors import ContrastError
from deeploc.generators.images import rendered as module
from deeploc.generators.images import surroundings
from deeploc.generators.images.canvas import Canvas
from deeploc.generators.images.rendered import LABELS, renderer, training_images
from deeploc.generators.images.scene import PAINTERS, render
from deeploc.generators.images.surroundings import flattened, photographed
from deeploc.generators.registry import generate
from deeploc.generators.rng import new_rng

RED = (200, 0, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every image of these tests in a temporary folder."""
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def rendered_images() -> np.ndarray:
    """Return 60 images of each category, (category, image, y, x, channel), 0 to 255."""
    return np.array(
        [[render(name, new_rng("test", name, i), 64) for i in range(60)] for name in PAINTERS],
        dtype=np.float64,
    )


def paths(category: str, n: int, seed: int = 0, **options: object) -> list[Path]:
    records = generate("rendered", n, seed, {"category": category, **options})
    return [Path(record["image"]) for record in records]


def accuracy_of_discriminants(features: np.ndarray) -> float:
    """Return the accuracy of linear discriminants on (category, image, feature), 5 folds."""
    n_categories, n, n_features = features.shape
    right = 0
    for fold in range(5):
        asked = np.arange(n) % 5 == fold
        means = features[:, ~asked].mean(1)
        spread = (features[:, ~asked] - means[:, None]).reshape(-1, n_features)
        root = np.linalg.cholesky(np.linalg.inv(np.cov(spread.T)))
        gaps = (features[:, asked, None] - means) @ root  # category, image, candidate, feature
        nearest = (gaps**2).sum(-1).argmin(-1)
        right += (nearest == np.arange(n_categories)[:, None]).sum()
    return right / (n_categories * n)


@pytest.mark.parametrize("category", PAINTERS)
@pytest.mark.parametrize("size", [16, 64, 100])
def test_an_image_is_rgb_of_the_size_asked_for(category: str, size: int) -> None:
    """uint8, square, three channels, and neither empty nor black and white alone."""
    rendered_image = render(category, new_rng(1), size)

    assert rendered_image.shape == (size, size, 3)
    assert rendered_image.dtype == np.uint8
    assert len(np.unique(rendered_image)) > 50


@pytest.mark.parametrize("category", PAINTERS)
def test_equal_seeds_give_equal_pixels(category: str) -> None:
    """Nothing but the generator decides; another seed gives another image."""
    first, again, other = (render(category, new_rng("p", seed), 64) for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_size_shows_the_same_scene() -> None:
    """Halved, an image of 128 pixels equals that of 64 pixels except for grain and rounding."""
    for category in PAINTERS:
        small = render(category, new_rng("scene", 2), 64).astype(float)
        large = render(category, new_rng("scene", 2), 128).astype(float)
        halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.9


def test_colour_and_contrast_do_not_reveal_the_category(rendered_images: np.ndarray) -> None:
    """A linear read-out of the six categories stays near chance (17 %), at most 27 %.

    It reads the mean and the standard deviation of each channel. Were each category one
    standard deviation brighter than the one before, it would know.
    """
    numbers = np.concatenate([rendered_images.mean((2, 3)), rendered_images.std((2, 3))], -1)
    brighter = numbers.copy()
    brighter[..., :3] += numbers[..., :3].std() * np.arange(6)[:, None, None]

    assert accuracy_of_discriminants(numbers) < 0.27
    assert accuracy_of_discriminants(brighter) > 0.35


def test_exposure_and_tint_are_set_whatever_is_shown() -> None:
    """A black, a white and a red scene come out alike, save for what was clipped."""
    noise = np.random.default_rng(0).uniform(-40, 40, (64, 64, 1))
    scenes = [np.float32(noise + colour) for colour in ((60,) * 3, (200,) * 3, (200, 50, 50))]
    means = np.array([photographed(new_rng(5), scene).mean((0, 1)) for scene in scenes])

    assert np.ptp(means, axis=0).max() < 1
    assert means.min() > 80
    assert means.max() < 175


def test_a_box_covers_what_it_says() -> None:
    """The left half of the canvas is red, the right half empty, but for the edge between."""
    canvas = Canvas.blank(16)
    canvas.box(-1, -1, 0, 1, RED)
    paint, alpha = flattened(canvas)

    assert (paint[:, :8] == RED).all()
    assert (alpha[:, :8] == 1).all()
    assert not alpha[:, 9:].any()


def test_edges_are_smooth() -> None:
    """A disc covers pi / 4 of the square around it to 1 %, with pixels partly covered."""
    canvas = Canvas.blank(32)
    canvas.ellipse((0, 0), (0.9, 0.9), RED)
    _, alpha = flattened(canvas)

    assert alpha.mean() == pytest.approx(math.pi / 4 * 0.81, rel=0.03)
    assert len(np.unique(alpha)) > 4


@pytest.mark.parametrize(
    ("pose", "where"),
    [
        ({"centre": (0, 0)}, (8, 13)),
        ({"centre": (0, 0), "turn": math.pi / 2}, (13, 8)),
        ({"centre": (0, 0), "scale": (-1, 1)}, (8, 2)),
        ({"centre": (-0.5, 0.5)}, (12, 9)),
        ({"centre": (0, 0), "scale": (0.5, 0.5)}, (8, 10)),
        ({"centre": (0, 0), "turn": -math.pi / 2, "slant": 0.5}, (2, 8)),
    ],
)
def test_a_canvas_is_placed(pose: dict[str, object], where: tuple[int, int]) -> None:
    """A dot on the right is turned clockwise, mirrored, moved, scaled to (y, x)."""
    canvas = Canvas.blank(16)
    canvas.placed(**pose).ellipse((0.65, 0), (0.15, 0.15), RED)
    _, alpha = flattened(canvas)
    y, x = np.unravel_index(alpha.argmax(), (16, 16))

    assert (abs(y - where[0]), abs(x - where[1])) <= (1, 1)


def test_a_slant_leans_to_the_right() -> None:
    """A point one unit high is moved to the right by the slant."""
    canvas = Canvas.blank(32)
    canvas.placed((0, 0), slant=0.5).ellipse((0, -0.8), (0.1, 0.1), RED)
    _, alpha = flattened(canvas)
    columns = alpha[..., 0].sum(0)

    assert columns @ np.linspace(-1, 1, 32) / columns.sum() == pytest.approx(0.4, abs=0.03)


def test_every_category_has_a_label() -> None:
    """The generator offers what can be rendered."""
    assert list(LABELS) == list(PAINTERS)


@pytest.mark.parametrize("category", PAINTERS)
def test_files_hold_the_rendered_pixels(category: str, cache: Path) -> None:
    """A PNG read again equals the rendered array; its record names it and its label."""
    records = generate("rendered", 3, 7, {"category": category, "size": 32})

    for number, record in enumerate(records):
        path = Path(record["image"])
        with Image.open(path) as image:
            pixels = np.asarray(image)
        assert np.array_equal(
            pixels, render(category, new_rng("rendered", category, 7, number), 32)
        )
        assert path.is_absolute()
        assert path.is_relative_to(cache)
        assert record["label"] == LABELS[category]


def test_seed_category_and_size_have_folders_of_their_own() -> None:
    """No two requests share a file, and no two files are equal."""
    result = [
        *paths("faces", 2),
        *paths("faces", 2, seed=1),
        *paths("faces", 2, size=32),
        *paths("cars", 2),
    ]

    assert len({path.read_bytes() for path in result}) == len(set(result)) == 8


def test_what_is_kept_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second request reads files that exist and renders the missing ones."""
    first = paths("tools", 3)
    times = [path.stat().st_mtime_ns for path in first]
    sampled: list[Path] = []
    monkeypatch.setattr(module, "_write", lambda path, *_: sampled.append(path))

    second = paths("tools", 4)

    assert second[:3] == first
    assert [path.stat().st_mtime_ns for path in first] == times
    assert sampled == second[3:]


def test_a_changed_renderer_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is named by a hash over the source of every module that decides a pixel."""
    copy = tmp_path / "generators"
    shutil.copytree(str(files("deeploc.generators")), copy)
    monkeypatch.setattr(module, "files", lambda _: copy)
    names = {renderer.__wrapped__()}
    for name in ("images/palette.py", "images/scene.py", "rng.py"):
        with (copy / name).open("a") as code:
            code.write("# changed\n")
        names.add(renderer.__wrapped__())

    assert renderer() in names
    assert len(names) == 4


def test_a_failed_write_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full no file exists, not even a part of it."""

    def fails(_: Image.Image, path: Path, **__: str) -> None:
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(ContrastError, match="No space left on device; set DEEPLOC_CACHE_DIR"):
        paths("faces", 1)

    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the folder, the reason and the variable that moves it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path / "file"))

    with pytest.raises(ContrastError) as reported:
        paths("faces", 1)

    assert str(reported.value) == (
        f"cannot keep rendered images in {tmp_path}/file/rendered/{renderer()}/faces-64-seed-0: "
        "Not a directory; set DEEPLOC_CACHE_DIR to a folder that can be written"
    )


def test_the_cache_is_the_users_own_unless_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative DEEPLOC_CACHE_DIR counts from the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", "here")
    moved = cache_root()
    monkeypatch.delenv("DEEPLOC_CACHE_DIR")

    assert moved == tmp_path / "here"
    assert cache_root().name == "deeploc"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category": "face"}, "no category of rendered is called 'face'; did you mean faces\\?"),
        ({"size": 8}, "option size of rendered is 8; it must lie between 16 and 512"),
        ({"size": 1000}, "option size of rendered is 1000; it must lie between 16 and 512"),
        ({"size": "64"}, "option size of rendered is '64'"),
        ({"colour": "red"}, "no option of rendered is called 'colour'"),
    ],
)
def test_what_cannot_be_rendered_is_reported(options: dict[str, object], message: str) -> None:
    """The error names the option and what would be right."""
    with pytest.raises(ContrastError, match=message):
        generate("rendered", 1, 0, options)


@pytest.mark.parametrize("seed", [0, 3])
def test_generated_images_are_not_trained_on(seed: int) -> None:
    """No image of the generator is among the training images, with equal seeds or others."""
    trained = {
        rendered_image.tobytes()
        for other in (0, 3)
        for rendered_image, _ in itertools.islice(training_images(other, 32), 60)
    }
    displayed = [
        np.asarray(Image.open(p)).tobytes() for c in LABELS for p in paths(c, 8, seed, size=32)
    ]

    assert len(trained) == 120
    assert not trained & set(displayed)


def test_training_has_every_category() -> None:
    """Training images have the six labels, about equally often."""
    labels = [label for _, label in itertools.islice(training_images(0, 16), 120)]

    assert all(labels.count(label) >= 8 for label in LABELS.values())


def test_noise_is_even_between_its_bounds() -> None:
    """Its mean is 0 and its variance 1/3, as for uniformly distributed numbers from -1 to 1."""
    sampled = surroundings.noise(random.Random(0), (200, 200))

    assert abs(sampled.mean()) < 0.02
    assert sampled.var() == pytest.approx(1 / 3, rel=0.02)
    assert -1 <= sampled.min() <= sampled.max() <= 1
