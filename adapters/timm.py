"""Any image network of timm, by hooks: ``timm:NAME``, a hub name or ``timm:/path/to/folder``."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from ._image.adapter import ImageAdapter
from ._image.class_names import class_names
from ._image.prepare import Pixels, Preparation
from ._image.weights import last_matrix, load_weights, n_classes, read_weights
from ._torch.device import placed, seeded
from ._torch.hub import cache_if_away
from ._torch.quiet import load_errors

_REMEDY = "without the hub give a folder in timm's layout, or --weights FILE, or --untrained"


def load(name: str, options: ModelOptions, *, called: str | None = None) -> ImageAdapter:
    """Load a network by its timm name, from a folder in timm's own layout, or from the hub.

    Images are prepared as the network's own configuration says (size, crop, interpolation, mean
    and standard deviation). With ``options.weights`` the file's tensors are loaded into the
    architecture; a ``config.json`` in timm's layout beside the file is then honoured, else the
    architecture's default configuration is used. ``called`` is what run folders call it.

    Raises
    ------
    AdapterError
        In one line: which network, why it cannot be loaded, what to do.
    """
    library = _timm()  # before it is silenced: what it imports sets the level of its loggers anew
    with load_errors(f"timm:{name}", _REMEDY, "timm", "huggingface_hub"):
        module = _from_file(name, options.weights) if options.weights else _made(name, options)
    placed(module, options)
    config = dict(library.data.resolve_model_data_config(module))
    size = tuple(config["input_size"])
    if size[0] != 3:
        raise AdapterError(f"timm:{name} takes {size[0]} colours; deeploc shows images of three")
    identity = {"adapter": "timm", "model": called or name}
    n = int(module.num_classes)
    classes = class_names(n, module.pretrained_cfg.get("label_names") or ()) if n else ()
    prepared = Preparation(_crop(config), config["mean"], config["std"], _described(config))
    return ImageAdapter(
        module,
        prepared,
        size,
        identity=identity,
        classes=classes,
        has_classes=n > 0,
        options=options,
    )


def _made(name: str, options: ModelOptions) -> Any:
    source = _source(name)
    with seeded(options.seed), _hub(source, options):
        return _timm().create_model(source, pretrained=not options.untrained)


def _hub(source: str, options: ModelOptions) -> AbstractContextManager[None]:
    """Return a context in which weights are fetched, at once or not at all."""
    if options.untrained or source.startswith("local-dir:"):
        return nullcontext()
    if source.startswith("hf-hub:"):
        return cache_if_away(source.removeprefix("hf-hub:"), _REMEDY)
    config = _timm().get_pretrained_cfg(source)
    known = config.hf_hub_id if config else None
    return cache_if_away(known, _REMEDY) if known else nullcontext()


def _source(name: str) -> str:
    """Return what timm calls the network; a folder is told from a name by being there."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise AdapterError(
                f"folder {name!r} holds no network: it has no config.json; give a folder in "
                "timm's layout, or an architecture with --weights FILE"
            )
        return f"local-dir:{folder}"
    if name.startswith((".", "/", "~")):
        raise AdapterError(f"there is no folder {name!r}; timm: takes a folder or a timm name")
    if ":" not in name and "/" not in name:
        _check_known(name)
    return f"hf-hub:{name}" if "/" in name and ":" not in name else name


def _from_file(name: str, path: Path) -> Any:
    state = read_weights(path)
    _check_known(name)
    config = _config_beside(path, name)
    own = {k: config[k] for k in ("pretrained_cfg", "num_classes") if k in config}
    more = {**config.get("model_args", {}), **own}
    if "num_classes" not in more:
        more["num_classes"] = n_classes(state, _classifier_weight(name, more))
    module = _timm().create_model(name, pretrained=False, **more)
    load_weights(module, state, path, name)
    return module


def _classifier_weight(name: str, options: Mapping[str, Any]) -> str:
    """Return the name of the weight of the classifier that an architecture has or may have."""
    with torch.device("meta"):
        module = _timm().create_model(name, **options)
    names = module.pretrained_cfg.get("classifier")
    first = names if isinstance(names, str) else next(iter(names or ()), None)
    return f"{first}.weight" if first else last_matrix(module)


def _config_beside(path: Path, name: str) -> Mapping[str, Any]:
    """Return the config.json beside a weights file, if it is about the architecture ``name``."""
    beside = path.with_name("config.json")
    if not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterError(f"{beside}: not valid JSON ({error}); repair or remove it") from None
    same = isinstance(config, Mapping) and config.get("architecture") == name.partition(".")[0]
    return config if same else {}


def _check_known(name: str) -> None:
    architecture = name.partition(".")[0]
    if not _timm().is_model(architecture):
        near = get_close_matches(architecture, _timm().list_models(), n=1)
        hint = f"did you mean timm:{near[0]}? " if near else ""
        raise AdapterError(
            f"timm has no architecture {architecture!r}; {hint}`timm.list_models()` lists them"
        )


def _crop(config: Mapping[str, Any]) -> Callable[[Image], Pixels]:
    transform = _timm().data.create_transform(**config, is_training=False, use_prefetcher=True)

    def crop(image: Image) -> Pixels:
        # timm leaves normalization to its loader here, as deeploc does
        return np.moveaxis(np.asarray(transform(image)), 0, -1)

    return crop


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}


def _timm() -> Any:
    return import_module("timm")
