"""A network of images of transformers, with the image processor of its checkpoint."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import nn

from deeploc.adapters._torch.hooks import first_tensor
from deeploc.adapters._torch.quiet import load_errors, quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .adapter import ImageAdapter
from .class_names import class_names
from .packed import PIXELS, Packing
from .prepare import Pixels, Preparation

_REMEDY = "save its image processor (preprocessor_config.json) into the same folder"

_UNNAMED = "LABEL_"
"""How a config of transformers begins the names of classes that were given none."""


def load_processor(name: str, source: Mapping[str, Any]) -> Any:
    """Return the image processor of a checkpoint.

    Parameters
    ----------
    name
        Of the model, for messages.
    source
        Arguments of ``from_pretrained``.

    Raises
    ------
    AdapterError
        If there is none.
    """
    with load_errors(f"the image processor of {name!r}", _REMEDY), quiet():
        return import_module("transformers").AutoImageProcessor.from_pretrained(**source)


def image_adapter(
    module: nn.Module,
    processor: Any,
    name: str,
    options: ModelOptions,
    *,
    origin: Mapping[str, Any],
) -> ImageAdapter:
    """Return the adapter of a network; with a classifier it has the classes of its config.

    Parameters
    ----------
    module
        A model of transformers that takes what its processor makes of an image, on its device.
    processor
        Its image processor.
    name
        What the network is called in run folders.
    options
        How it was loaded, and the batch size.
    origin
        Where the weights come from, for the identity.

    Raises
    ------
    AdapterError
        If the processor does not make one image of one size, or the network does not take it.
    """
    grey = new_image("RGB", (256, 256), (128, 128, 128))
    packing = Packing.of(_made_of(processor, grey), module)
    if packing is not None:
        packing.attach(module)
    crop = _pixels_of(processor, name) if packing is None else _packed_by(processor, name, packing)
    described = {"processor": type(processor).__name__, **_settings(processor)}
    if packing is not None:
        described |= {"packed": [field.name for field in packing.fields]}
        described |= {"square": packing.has_mask}
    preparation = Preparation(crop, (), (), described, packing is not None)
    pixels = crop(grey)
    rows, columns, colours = pixels.shape
    n = _n_classes(module, preparation, pixels, name)
    return ImageAdapter(
        module,
        preparation,
        (colours, rows, columns),
        identity={"adapter": "hf", "model": name, **origin},
        classes=_classes(module, n),
        has_classes=n > 0,
        options=options,
    )


def _made_of(processor: Any, image: Image) -> Mapping[str, Any]:
    """Return the arguments that an image processor makes of one image."""
    with quiet():
        made: Mapping[str, Any] = processor(images=image, return_tensors="np")
    return made


def _packed_by(processor: Any, name: str, packing: Packing) -> Callable[[Image], Pixels]:
    """Return a function that packs all that the processor makes of an image."""

    def crop(image: Image) -> Pixels:
        if packing.has_mask:  # else how many patches are its own would follow its aspect
            image = image.resize((max(image.size), max(image.size)))
        try:
            return packing.pack(_made_of(processor, image))
        except AdapterError as error:
            raise AdapterError(f"the image processor of {name!r}: {error}") from error

    return crop


def _pixels_of(processor: Any, name: str) -> Callable[[Image], Pixels]:
    """Return a function that makes (row, column, colour) of an image, normalized."""
    shapes: set[tuple[int, ...]] = set()

    def crop(image: Image) -> Pixels:
        pixels = np.asarray(_made_of(processor, image)[PIXELS][0], dtype=np.float32)
        shapes.add(pixels.shape)
        if pixels.ndim != 3 or len(pixels) != 3 or len(shapes) > 1:
            raise AdapterError(
                f"the image processor of {name!r} makes (colour, row, column) = "
                f"{' and '.join(map(str, sorted(shapes)))} of images; deeploc needs three colours "
                "and one size: let it resize or crop to a fixed height and width"
            )
        return np.moveaxis(pixels, 0, -1)

    return crop


@torch.inference_mode()
def _n_classes(module: Any, preparation: Preparation, pixels: Pixels, name: str) -> int:
    """Return how many classes the network scores; 0 if it returns features."""
    first = next(module.parameters())
    images = torch.from_numpy(np.ascontiguousarray(pixels)[None])
    images = preparation.normalized(images, first.device, first.dtype)
    try:
        with eval_mode(module), quiet():
            output, again = (module(images) for _ in range(2))
    except Exception as error:  # a model may need anything beside pixels
        reason = " ".join(str(error).split())[:160]
        raise AdapterError(
            f"model {name!r} cannot be run on images alone: {type(error).__name__}: {reason}; "
            "deeploc shows it what its image processor makes of one image of a fixed size"
        ) from error
    one, two = first_tensor(output), first_tensor(again)
    if one is not None and two is not None and not torch.allclose(one, two, equal_nan=True):
        raise AdapterError(
            f"model {name!r} draws random numbers for every image (which patches are masked, for "
            "example): the same image gives other activations each time; load a network of the "
            "same weights that draws none"
        )
    logits = output.get("logits") if isinstance(output, Mapping) else None
    return int(logits.shape[-1]) if logits is not None and logits.ndim == 2 else 0


def _classes(module: Any, n: int) -> Sequence[Sequence[str]]:
    """Return the names of every class: of the config, else of ImageNet by their number."""
    named: Mapping[Any, str] = module.config.id2label or {}
    labels = [str(label) for _, label in sorted(named.items(), key=lambda item: int(item[0]))]
    if not n or len(labels) != n or labels[0].startswith(_UNNAMED):
        return class_names(n) if n else ()
    words = ([word.strip() for word in label.split(",")] for label in labels)
    return tuple(tuple(dict.fromkeys(filter(None, each))) for each in words)


def _settings(processor: Any) -> dict[str, Any]:
    """Return the settings of an image processor, as JSON, without where they came from."""
    settings: Mapping[str, Any] = json.loads(processor.to_json_string())
    return {k: v for k, v in settings.items() if not k.startswith("_") and k != "processor_class"}
