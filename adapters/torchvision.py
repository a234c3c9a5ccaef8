"""Any classifier of torchvision, by hooks: ``torchvision:NAME``."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from deeploc.core.adapter import ModelOptions
from deeploc.core.outline import Outline
from deeploc.errors import AdapterError

from ._image.adapter import ImageAdapter
from ._image.class_names import class_names
from ._image.prepare import Pixels, Preparation
from ._image.weights import last_matrix, load_weights, n_classes, read_weights
from ._torch.device import check_unused, prepare_network, seeded
from ._torch.outline import outline_of, outlined_by
from ._torch.quiet import load_errors

_REMEDY = "without a network give --weights FILE or --untrained"


def outline(name: str, options: ModelOptions) -> Outline:
    """Return the size of a classifier, without its weights.

    Parameters
    ----------
    name, options
        As for `load`.

    Raises
    ------
    AdapterError
        If there is no such architecture.
    """
    with load_errors(f"torchvision:{name}", _REMEDY, "torchvision"):
        return outline_of(lambda: _models().get_model(name, weights=None), options)


@outlined_by(outline)
def load(name: str, options: ModelOptions) -> ImageAdapter:
    """Load a classifier of torchvision.

    Images are prepared as for the architecture's default weights (``Weights.DEFAULT``), whatever
    weights are loaded.

    Parameters
    ----------
    name
        A classifier of ``torchvision.models.list_models()``.
    options
        Default weights, those of the file ``weights``, or with ``untrained`` random ones. Weights
        without a classifier make a network without classes, also together with ``untrained``.

    Raises
    ------
    AdapterError
        If it cannot be loaded, with the reason.
    """
    check_unused(f"torchvision:{name}", options, "revision", "trust_remote_code", "device_map")
    models = _models()
    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean torchvision:{near[0]}? " if near else ""
        raise AdapterError(
            f"torchvision has no classifier {name!r}; {hint}"
            "`torchvision.models.list_models()` lists them"
        )
    weights = models.get_model_weights(name).DEFAULT
    with load_errors(f"torchvision:{name}", _REMEDY, "torchvision"):
        module, n = _network(name, weights, options)
        prepare_network(module, options)
    preset = _preset(weights, module)
    identity = {"adapter": "torchvision", "model": name}
    rows = int(preset.crop_size[0])
    prepared = Preparation(_crop(preset), preset.mean, preset.std, _as_json(preset))
    return ImageAdapter(
        module,
        prepared,
        (3, rows, rows),
        identity=identity,
        classes=class_names(n) if n else (),
        has_classes=n > 0,
        options=options,
    )


def _network(name: str, weights: Any, options: ModelOptions) -> tuple[Any, int]:
    """Return the network, and its number of classes: 0 without a classifier."""
    if options.weights is not None:
        return _from_file(name, options.weights, options)
    with seeded(options.seed):
        module = _models().get_model(name, weights=None if options.untrained else weights)
    return module, n_classes(module.state_dict(), last_matrix(module))


def _from_file(name: str, path: Path, options: ModelOptions) -> tuple[Any, int]:
    """Return the architecture of a file of weights, with these weights or with random ones."""
    state = read_weights(path)
    with torch.device("meta"):
        classifier = last_matrix(_models().get_model(name))
    n = n_classes(state, classifier)
    with seeded(options.seed):
        module = _models().get_model(name, **({"num_classes": n} if n else {}))
    if not n:  # a backbone: torchvision has no argument for that
        module.set_submodule(classifier.removesuffix(".weight"), nn.Identity())
    if not options.untrained:
        load_weights(module, state, path, name)
    return module, n


def _preset(weights: Any, module: Any) -> Any:
    """Return the preparation of images; a network may have another fixed size of input."""
    preset = weights.transforms()
    side = getattr(module, "image_size", preset.crop_size[0])
    if side == preset.crop_size[0]:
        return preset
    return weights.transforms(crop_size=side, resize_size=side)


def _crop(preset: Any) -> Callable[[Image], Pixels]:
    functional = import_module("torchvision.transforms.functional")

    def crop(image: Image) -> Pixels:
        resized = functional.resize(
            image, preset.resize_size, interpolation=preset.interpolation, antialias=True
        )
        return np.asarray(functional.center_crop(resized, preset.crop_size))

    return crop


def _as_json(preset: Any) -> Mapping[str, Any]:
    return {
        "resize_size": list(preset.resize_size),
        "crop_size": list(preset.crop_size),
        "interpolation": preset.interpolation.value,
        "mean": list(preset.mean),
        "std": list(preset.std),
    }


def _models() -> Any:
    return import_module("torchvision.models")
