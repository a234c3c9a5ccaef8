"""Adapters for any torch module: `wrap`, and ``torch:package.module:attribute``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor, nn

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.units import Site
from deeploc.errors import AdapterError

from ._image.adapter import ImageAdapter, Size
from ._image.class_names import class_names
from ._image.prepare import Pixels, Preparation
from ._module.adapter import ModuleAdapter
from ._module.import_object import import_object, is_adapter
from ._module.inputs import Preprocess
from ._text.choose import text_adapter
from ._text.reading import TextAdapter
from ._torch.code import module_settings
from ._torch.device import check_unused, resolved_device, resolved_dtype
from ._torch.identity import structure_hash
from ._torch.probes import images, preparation_hash
from ._torch.unwrap import unwrapped

Transform = Callable[[Image], Tensor]


def wrap(
    module: nn.Module,
    *,
    preprocess: Preprocess | None = None,
    transform: Transform | None = None,
    tokenizer: Any = None,
    classes: Sequence[str] = (),
    sites: Sequence[str | Site] | None = None,
    name: str | None = None,
    example: Sequence[str | Path] = ("a b c",),
    batch_size: int | None = None,
    options: ModelOptions | None = None,
) -> Adapter:
    """Return an adapter for a module.

    Parameters
    ----------
    module
        Any module. ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` and peft are
        unwrapped: the adapter works on the module inside.
    preprocess
        Turns a list of stimulus contents into the input of the module: a tensor, a tuple of
        tensors or a mapping of keyword arguments. Its ``attention_mask`` (batch, position) is 0
        at padding, on either side; it is passed on only if ``forward`` takes it. Stimuli that read
        otherwise beside longer ones are read in batches of equal length, with a notice.
    transform
        Instead of ``preprocess`` for a network of images: turns an RGB ``PIL.Image`` into a
        float tensor (colour, row, column) of one size, as torchvision's and timm's transforms
        do. Files are then decoded in threads while the network runs, and tasks that classify can
        use the output (image, class) of the network.
    classes
        With ``transform`` or ``preprocess``: the names of the classes, in the order of the output
        (stimulus, class). With ``preprocess`` they say that the output are scores of classes, and
        so that the module has a loss (``select.by: attribution``).
    tokenizer
        Instead of ``preprocess`` for a model of transformers that takes token ids: the adapter
        then does what ``hf:`` does with such a model, and scores and generates text if it can.
    sites
        Modules to read, as dotted paths (``:input`` appended for the input of a module; these are
        of kind ``block``) or as sites. Default: the repeated blocks and their MLP neurons.
    name
        What the model is called in run folders; default: its class.
    example
        Stimulus contents for the one small forward pass that discovers the sites.
    batch_size
        Largest number of stimuli per forward pass; ``None``: chosen by the adapter.
    options
        Those that a plugin's ``load(name, options)`` is given: the module is moved to their device
        and dtype, and their batch size is used.

    Raises
    ------
    AdapterError
        Unless exactly one of ``preprocess``, ``transform`` and ``tokenizer`` is given and fits the
        module, and it gives equal results for equal stimuli.
    """
    module = unwrapped(module)
    name = name or type(module).__name__
    if options is not None:
        _move(module, options)
        batch_size = options.batch_size if batch_size is None else batch_size
    _check_options(module, name, preprocess=preprocess, transform=transform, tokenizer=tokenizer)
    if transform is not None:
        adapter: ImageAdapter | ModuleAdapter | TextAdapter = _image_adapter(
            module, transform, name, classes=classes, sites=sites, batch_size=batch_size
        )
    elif preprocess is not None:
        adapter = ModuleAdapter(
            module,
            preprocess,
            name,
            sites=sites,
            example=list(example),
            batch_size=batch_size,
            classes=classes,
        )
    else:
        options = ModelOptions(batch_size=batch_size)
        adapter = text_adapter(module, tokenizer, name, options, sites)
    if not adapter.sites.sites:  # a first forward pass, so that what does not fit fails at once
        raise AdapterError("wrap was given no sites; leave out sites=[] to have them discovered")
    return adapter


def _move(module: nn.Module, options: ModelOptions) -> None:
    """Move a module to the device and the dtype of the options."""
    device = resolved_device(options.device)
    dtype = None if options.dtype == "auto" else resolved_dtype(options.dtype, device)
    module.to(device=device, dtype=dtype)


def _check_options(module: nn.Module, name: str, **options: Any) -> None:
    """Refuse all but one option that prepares the input, and one that does not fit the module."""
    if sum(option is not None for option in options.values()) != 1:
        raise AdapterError(
            f"wrap({name}) needs preprocess= (stimulus contents to model inputs), transform= (an "
            "image to a tensor) or tokenizer= (for a model of transformers), and only one of them"
        )
    takes_tokens = hasattr(module, "base_model") and hasattr(module, "get_input_embeddings")
    if options["tokenizer"] is not None and not takes_tokens:
        raise AdapterError(
            f"wrap({name}): tokenizer= is for models of transformers that take token ids; "
            "give preprocess= for any other module"
        )


def _image_adapter(
    module: nn.Module,
    transform: Transform,
    name: str,
    *,
    classes: Sequence[str],
    sites: Sequence[str | Site] | None,
    batch_size: int | None,
) -> ImageAdapter:
    crop, size = _crop_of(transform, name)
    probes = list(images().values())
    content, _ = preparation_hash(crop, probes, name=f"transform of {name}")
    settings = structure_hash(module_settings(module))
    return ImageAdapter(
        module,
        Preparation(crop, (), (), {"transform": content}),
        size,
        identity={"adapter": "torch", "model": name, "settings": settings},
        classes=class_names(0, classes),
        has_classes=getattr(module, "num_classes", None) != 0,
        options=ModelOptions(batch_size=batch_size),
        sites=sites,
    )


def _crop_of(transform: Transform, name: str) -> tuple[Callable[[Image], Pixels], Size]:
    """Return the transform as a crop, and the size that it gives every image."""
    grey = new_image("RGB", (256, 256), (128, 128, 128))
    rows, columns, colours = shape = _pixels(transform(grey), name).shape

    def crop(image: Image) -> Pixels:
        pixels = _pixels(transform(image), name)
        if pixels.shape != shape:
            raise AdapterError(
                f"transform of {name} makes (row, column, colour) = {pixels.shape} of one image "
                f"and {shape} of another; let it crop all of them to one size"
            )
        return pixels

    return crop, (colours, rows, columns)


def _pixels(made: Any, name: str) -> Pixels:
    """Return what a transform made as (row, column, colour)."""
    if isinstance(made, Tensor) and made.ndim == 3 and made.is_floating_point():
        return np.moveaxis(made.numpy(), 0, -1)
    is_tensor = isinstance(made, Tensor)
    kind = f"{made.dtype} {tuple(made.shape)}" if is_tensor else type(made).__name__
    raise AdapterError(
        f"transform of {name} returned {kind}; it must return a float tensor (colour, row, "
        "column), as ToTensor of torchvision does"
    )


def load(name: str, options: ModelOptions) -> Adapter:
    """Import ``package.module:attribute`` and return it as an adapter.

    The attribute is a module, an adapter, or a function without arguments that makes one of them.
    A module must have an attribute ``tokenizer``, ``transform`` (perhaps with ``classes``) or
    ``preprocess``, as in `wrap`.

    Parameters
    ----------
    name
        ``package.module:attribute``.
    options
        Device, dtype, batch size; ``seed`` is that of torch while a function is called.

    Raises
    ------
    AdapterError
        If it cannot be imported or used.
    """
    unusable = ("weights", "revision", "trust_remote_code", "device_map")
    check_unused(f"torch:{name}", options, *unusable)
    if options.untrained:  # before any code of the user's is run
        raise AdapterError(
            f"{name} cannot be loaded untrained: only its author knows how its weights are "
            "initialized; point to a factory that returns it untrained"
        )
    value = import_object(name, options.seed)
    if not isinstance(value, nn.Module):
        return _finished_adapter(name, value, options)
    _move(value, options)
    inner = unwrapped(value)  # a wrapper or the module inside may have the attributes
    names = ("tokenizer", "transform", "preprocess")
    inputs: dict[str, Any] = {n: getattr(value, n, getattr(inner, n, None)) for n in names}
    if all(each is None for each in inputs.values()):
        raise AdapterError(
            f"{name} is a module, but has nothing that turns stimuli into its input; give it an "
            "attribute `tokenizer`, `transform` or `preprocess`, or return deeploc.wrap(module, "
            "preprocess=...)"
        )
    classes = getattr(value, "classes", getattr(inner, "classes", ()))
    return wrap(value, **inputs, classes=classes, name=name, batch_size=options.batch_size)


def _finished_adapter(name: str, value: Any, options: ModelOptions) -> Adapter:
    """Return an adapter that a factory has made; most options can no longer be applied."""
    if not is_adapter(value):
        raise AdapterError(
            f"{name} is {type(value).__name__}; it must be a torch module, an adapter "
            "(see deeploc.wrap), or a function without arguments that returns one"
        )
    if replace(options, seed=ModelOptions().seed, modality=None) != ModelOptions():
        raise AdapterError(
            f"{name} is an adapter already made: device, dtype and batch size are chosen where it "
            "is made; leave these options out"
        )
    adapter: Adapter = value
    return adapter
