"""Small random networks of every image type of transformers.

The types are those that transformers maps to AutoModelForImageClassification, to AutoBackbone, to
AutoModelForZeroShotImageClassification (a tower for text and one for images, which is read) or to
a model of images.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tiny_models import tiny_config
from transformers import (
    AutoBackbone,
    AutoModel,
    AutoModelForImageClassification,
    ImageGPTImageProcessor,
    PretrainedConfig,
    Siglip2ImageProcessor,
    ViTImageProcessor,
)
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LARGEST = 100_000_000
"""Most weights of a network that is built as its config class is by default."""

AUTOS = {
    AutoModelForImageClassification: modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    AutoModel: modeling_auto.MODEL_MAPPING_NAMES,
    AutoBackbone: modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
}
IMAGE_TYPES: Sequence[str] = list(
    dict.fromkeys(
        [
            *modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
            *modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
            *modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
            *modeling_auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
        ]
    )
)


def tiny_network(kind: str, sizes: str) -> Any:
    """Return a small random network of a type.

    Parameters
    ----------
    kind
        As in `CONFIG_MAPPING`.
    sizes
        A key of `tiny_sizes.SIZES`.
    """
    config = tiny_config(kind, sizes)
    if isinstance(getattr(config, "image_size", None), list | tuple):
        config.image_size = [32, 32]
    return _network(kind, config)


def default_network(kind: str) -> Any:
    """Return a random network of a type as its config class is: some cannot be smaller.

    Others show nothing if they are.
    """
    config = CONFIG_MAPPING[kind]()
    auto = _auto_class(kind, config)
    with torch.device("meta"):
        n = sum(p.numel() for p in auto.from_config(config).parameters())
    if n > LARGEST:
        raise ValueError(f"its default config has {n / 1e6:.0f} million weights")
    return _network(kind, config)


def image_processor(model: Any, folder: Path) -> None:
    """Write the image processor of a network: to the size of image that it takes."""
    rows, columns = image_size(model.config)
    processor = ViTImageProcessor(size={"height": rows, "width": columns})
    if model.config.model_type == "imagegpt":  # a number for every colour
        colours = torch.rand(model.config.vocab_size - 1, 3, generator=torch.Generator()) * 2 - 1
        size = {"height": 8, "width": 8}
        processor = ImageGPTImageProcessor(clusters=colours.tolist(), size=size)
    if model.config.model_type == "siglip2":  # patches and their mask
        vision = model.config.vision_config
        n = vision.num_patches
        processor = Siglip2ImageProcessor(patch_size=vision.patch_size, max_num_patches=n)
    processor.save_pretrained(folder)


def image_size(config: PretrainedConfig) -> tuple[int, int]:
    """Return the rows and columns of an image that a network takes."""
    size = getattr(getattr(config, "vision_config", config), "image_size", None) or 64
    rows, columns = size if isinstance(size, tuple | list) else (size, size)
    return rows, columns


def _auto_class(kind: str, config: PretrainedConfig) -> Any:
    """Return the auto class of a type; its config gets the name of the class to build."""
    auto = next(auto for auto, kinds in AUTOS.items() if kind in kinds)
    names = AUTOS[auto][kind]
    config.architectures = [names[0] if isinstance(names, tuple | list) else names]
    return auto


@torch.no_grad()
def _network(kind: str, config: PretrainedConfig) -> Any:
    """Return a random network, its weights such that what it is shown reaches its end."""
    auto = _auto_class(kind, config)
    torch.manual_seed(0)
    model = auto.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # of unit variance behind every layer, else a deep one returns 0
            parameter.normal_(0, parameter[0].numel() ** -0.5)
        else:
            parameter += 0.05 * torch.randn(parameter.shape)
    if norms := [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]:
        with suppress(ValueError):  # two towers take no images alone
            _fit_norms(model, norms)
    return model.eval()


def _fit_norms(model: Any, norms: Sequence[torch.nn.BatchNorm2d]) -> None:
    """Give batch norms the means and variances of what they are shown, as training does."""
    model.eval()
    for norm in norms:
        norm.train().momentum = None
        norm.weight.copy_(1 + 0.05 * torch.randn(norm.weight.shape))  # some types begin with 0
    size = image_size(model.config)
    n = 64 if max(size) <= 64 else 8  # the last maps of small images have one position
    model(pixel_values=torch.randn(n, 3, *size))
