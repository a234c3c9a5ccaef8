"""Read, ablate and classify with one small network of every image type of transformers.

    python scripts/hf_image_breadth.py [TYPE ...]

The types are those that transformers maps to AutoModelForImageClassification, to AutoBackbone, to
AutoModelForZeroShotImageClassification (a tower for text and one for images) or to a model of
images. Each is built from its own config class with random weights and an image processor, saved,
and loaded as `hf:FOLDER`. It fully works if its sites are found and read, if images read together
are as they are one by one, if ablated units of every kind read 0 at every position and change what
comes after, if nothing is left behind, and if it classifies (without classes: gives features).
Each other type is told in one line.
"""

import argparse
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoder_breadth import Fault, one_line
from PIL import Image
from tiny_models import tiny_config
from transformers import AutoBackbone, AutoModel, AutoModelForImageClassification, ViTImageProcessor
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from deeploc.adapters._image.adapter import ImageAdapter
from deeploc.adapters.hf import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import DeeplocError
from deeploc.stimuli import Stimulus

LIMIT = 1e-3
"""Largest difference between an image alone and in a batch, relative to the largest activation."""

LARGEST = 100_000_000
"""Most weights of a network that is built as its config class is by default."""

SECONDS = 60
"""For one network."""

AUTOS = {
    AutoModelForImageClassification: modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    AutoModel: modeling_auto.MODEL_MAPPING_NAMES,
    AutoBackbone: modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
}
TYPES = dict.fromkeys(
    [
        *modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*", help="only these")
    kinds = parser.parse_args().types or list(TYPES)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, out_of_time)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        images = noise(Path(folder))
        for kind in kinds:
            state, told = outcome(kind, images)
            counts[state] += 1
            print(f"{kind:24}{state:9}{told}"[:160], flush=True)
    total = counts["works"] + counts["fails"]
    print(f"{counts['works']} of {total} buildable types fully work")
    sys.exit(counts["fails"] > 0)


def out_of_time(*_: object) -> None:
    raise Fault(f"no answer in {SECONDS} s")


def noise(folder: Path) -> list[Stimulus]:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (4 * 2**number,) * 2 + (3,), dtype=np.uint8)
        Image.fromarray(pixels).resize((128, 96)).save(folder / f"{number}.png")
    return [Stimulus(f"{n}.png", folder / f"{n}.png") for n in range(3)]


def outcome(kind: str, images: list[Stimulus]) -> tuple[str, str]:
    """Return whether a type works, fails or cannot be built, and more about it."""
    states: dict[str, str] = {}
    for config in (
        small_config,
        full_config,
    ):  # some cannot be as small, or show nothing if they are
        signal.alarm(SECONDS)
        try:
            model = built(kind, config)
        except Exception as error:  # whatever a model class raises
            states.setdefault("unbuilt", one_line(error))
            continue
        try:
            return "works", checked(model, images)
        except (DeeplocError, Fault) as error:
            states.setdefault("fails", one_line(error))
        except Exception as error:  # a traceback is a fault of deeploc
            states.setdefault("fails", f"TRACEBACK {one_line(error)}")
        finally:
            signal.alarm(0)
    state = "fails" if "fails" in states else "unbuilt"
    return state, states[state]


def small_config(kind: str) -> Any:
    config = tiny_config(kind)
    if isinstance(getattr(config, "image_size", None), list | tuple):
        config.image_size = [32, 32]
    return config


def full_config(kind: str) -> Any:
    config = CONFIG_MAPPING[kind]()
    auto = auto_class(kind, config)
    with torch.device("meta"):
        n = sum(p.numel() for p in auto.from_config(config).parameters())
    if n > LARGEST:
        raise ValueError(f"its default config has {n / 1e6:.0f} million weights")
    return config


def auto_class(kind: str, config: Any) -> Any:
    """Return the auto class of a type; its config gets the name of the class to build."""
    auto = next(auto for auto, kinds in AUTOS.items() if kind in kinds)
    names = AUTOS[auto][kind]
    config.architectures = [names[0] if isinstance(names, tuple | list) else names]
    return auto


def built(kind: str, make: Callable[[str], Any]) -> Any:
    """Return a random network of a type."""
    config = make(kind)
    auto = auto_class(kind, config)
    torch.manual_seed(0)
    model = auto.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # of unit variance behind every layer, else a deep one returns 0
            parameter.normal_(0, parameter[0].numel() ** -0.5)
        else:
            parameter += 0.05 * torch.randn(parameter.shape)
    if norms := [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]:
        with suppress(ValueError):  # two towers take no images alone
            fit_norms(model, norms)
    return model.eval()


def fit_norms(model: Any, norms: list[torch.nn.BatchNorm2d]) -> None:
    """Give batch norms the means and variances of what they are shown, as training does."""
    model.eval()
    for norm in norms:
        norm.train().momentum = None
        norm.weight.copy_(1 + 0.05 * torch.randn(norm.weight.shape))  # some types begin with 0
    size = image_size(model.config)
    n = 64 if max(size) <= 64 else 8  # the last maps of small images have one position
    model(pixel_values=torch.randn(n, 3, *size))


def image_size(config: Any) -> tuple[int, int]:
    """Return the rows and columns of an image that a network takes."""
    size = getattr(getattr(config, "vision_config", config), "image_size", None) or 64
    return tuple(size) if isinstance(size, tuple | list) else (size, size)


def checked(model: Any, images: list[Stimulus]) -> str:
    """Check one network, and return its class and its kinds of sites."""
    rows, columns = image_size(model.config)
    processor = ViTImageProcessor(size={"height": rows, "width": columns})
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        options = ModelOptions(device="cpu", modality="image")
        adapter = load(folder, options)
    if not isinstance(adapter, ImageAdapter):
        raise Fault("it is no network of images")
    check_batches(adapter, images)
    check_ablation(adapter, images)
    predictions = adapter.classify(images)
    if not np.isfinite(predictions.features).all():
        raise Fault("features are not finite")
    sites = adapter.sites
    told = " ".join(f"{kind}={len(sites.choose([kind]).sites)}" for kind in sites.kinds)
    return f"{type(adapter.module).__name__} {told}"


def read(
    adapter: ImageAdapter, images: list[Stimulus], layout: Layout, pool: str = "mean"
) -> np.ndarray:
    values = np.full((len(images), layout.n_units), np.nan)
    for batch in adapter.activations(images, layout, Readout(pool=pool, response="signed")):
        values[batch.indices] = batch.values
    return values


def check_batches(adapter: ImageAdapter, images: list[Stimulus]) -> None:
    """Refuse activations that depend on what shares the forward pass."""
    together = read(adapter, images, adapter.sites)
    alone = np.concatenate([read(adapter, [image], adapter.sites) for image in images])
    if not np.isfinite(alone).all():
        raise Fault("activations are not finite")
    difference = np.abs(together - alone).max() / np.abs(alone).max()
    if difference > LIMIT:
        raise Fault(f"an image reads otherwise in a batch (relative difference {difference:.1e})")


def check_ablation(adapter: ImageAdapter, images: list[Stimulus]) -> None:
    """Ablate units of every kind: they read 0, the features change, and nothing stays."""
    intact, features = read(adapter, images, adapter.sites), adapter.classify(images).features
    for kind in adapter.sites.kinds:
        layout = adapter.sites.choose([kind])
        first = layout.slices[layout.sites[0].name]
        selected = np.zeros(layout.n_units, dtype=bool)
        selected[first.start : first.stop : 2] = True
        with adapter.ablated(Ablation(UnitMask(layout, selected))):
            own, after = read(adapter, images, layout, "max"), adapter.classify(images).features
        if own[:, selected].any():
            raise Fault(f"ablated units of kind {kind} do not read 0")
        if np.array_equal(after, features):
            raise Fault(f"ablating {kind} does not change the features")
        if not np.array_equal(read(adapter, images, adapter.sites), intact):
            raise Fault(f"ablating {kind} leaves something behind")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
