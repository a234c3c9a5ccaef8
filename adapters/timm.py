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
from deeploc.core.outline import Outline
from deeploc.errors import AdapterError

from ._image.adapter import ImageAdapter
from ._image.class_names import class_names
from ._image.prepare import Pixels, Preparation
from ._image.weights import last_matrix, load_weights, n_classes, read_weights
from ._torch.device import check_unused, prepare_network, seeded
from ._torch.hub import cache_if_unreachable, cached_file, commit_of
from ._torch.outline import outline_of, outlined_by
from ._torch.quiet import load_errors

_REMEDY = "without the hub give a folder in timm's layout, or --weights FILE, or --untrained"


def outline(name: str, options: ModelOptions) -> Outline:
    """Return the size of a network, without its weights.

    Parameters
    ----------
    name, options
        As for `load`.

    Raises
    ------
    AdapterError
        If there is no such architecture.
    """
    library = _timm()
    with load_errors(f"timm:{name}", _REMEDY, "timm", "huggingface_hub"):
        source = name.partition(".")[0] if options.weights else _at_revision(_source(name), options)
        return outline_of(lambda: library.create_model(source, pretrained=False), options)


@outlined_by(outline)
def load(name: str, options: ModelOptions, *, called: str | None = None) -> ImageAdapter:
    """Load a network of timm.

    Images are prepared according to the network's configuration (size, crop, interpolation, mean
    and standard deviation).

    Parameters
    ----------
    name
        A name of timm, a folder in timm's layout, or a name on the hub.
    options
        With ``weights`` the tensors of that file are loaded into the architecture ``name``; a
        ``config.json`` in timm's layout in the same folder is used, else the default
        configuration. Weights without a classifier make a network without classes. With
        ``untrained`` as well, it is the same architecture with random weights. ``revision`` is for
        names on the hub.
    called
        What the network is called in run folders; default: ``name``.

    Raises
    ------
    AdapterError
        If it cannot be loaded, with the reason.
    """
    check_unused(f"timm:{name}", options, "trust_remote_code", "device_map")
    if options.weights is not None:
        check_unused(f"timm:{name} with --weights", options, "revision")
    library = _timm()  # before its loggers are silenced: its import sets their levels
    with load_errors(f"timm:{name}", _REMEDY, "timm", "huggingface_hub"):
        path = options.weights
        module = _from_file(name, path, options) if path else _by_name(name, options)
    prepare_network(module, options)
    config = dict(library.data.resolve_model_data_config(module))
    size = tuple(config["input_size"])
    if size[0] != 3:
        raise AdapterError(f"timm:{name} takes {size[0]} colours; deeploc has images of three")
    identity = {"adapter": "timm", "model": called or name, **_commit(name, options)}
    n = int(module.num_classes)
    classes = class_names(n, module.pretrained_cfg.get("label_names") or ()) if n else ()
    prepared = Preparation(_crop(config), config["mean"], config["std"], _as_json(config))
    return ImageAdapter(
        module,
        prepared,
        size,
        identity=identity,
        classes=classes,
        has_classes=n > 0,
        options=options,
    )


def _by_name(name: str, options: ModelOptions) -> Any:
    source = _at_revision(_source(name), options)
    with seeded(options.seed), _hub(source, options):
        return _timm().create_model(source, pretrained=not options.untrained)


def _hub(source: str, options: ModelOptions) -> AbstractContextManager[None]:
    """Return a context in which weights are downloaded, or taken from the cache without delay."""
    if source.startswith("hf-hub:"):  # its configuration is there too
        hub_name = source.removeprefix("hf-hub:").partition("@")[0]
        return cache_if_unreachable(hub_name, _REMEDY, options.revision)
    if options.untrained or source.startswith("local-dir:"):
        return nullcontext()
    config = _timm().get_pretrained_cfg(source)
    hub_id = config.hf_hub_id if config else None
    return cache_if_unreachable(hub_id, _REMEDY) if hub_id else nullcontext()


def _at_revision(source: str, options: ModelOptions) -> str:
    """Return the name that timm has for a revision of a network on the hub."""
    if options.revision is None:
        return source
    if not source.startswith("hf-hub:"):
        config = None if source.startswith("local-dir:") else _timm().get_pretrained_cfg(source)
        on_hub = f"timm:{config.hf_hub_id}" if config and config.hf_hub_id else "timm:OWNER/NAME"
        raise AdapterError(
            f"--revision {options.revision} is for networks by their name on the hub, which "
            f"{source!r} is not; give {on_hub}"
        )
    return f"{source}@{options.revision}"


def _commit(name: str, options: ModelOptions) -> dict[str, str]:
    """Return the commit of a revision that was asked for, as an entry of the identity."""
    if options.revision is None:
        return {}
    commit = commit_of(cached_file(name.removeprefix("hf-hub:"), "config.json", options.revision))
    return {"revision": commit or options.revision}


def _source(name: str) -> str:
    """Return the name that timm has for the network; a name of an existing folder is a folder."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise AdapterError(
                f"folder {name!r} contains no network: it has no config.json; give a folder in "
                "timm's layout, or an architecture with --weights FILE"
            )
        return f"local-dir:{folder}"
    if name.startswith((".", "/", "~")):
        raise AdapterError(f"there is no folder {name!r}; timm: takes a folder or a timm name")
    if ":" not in name and "/" not in name:
        _check_known(name)
    return f"hf-hub:{name}" if "/" in name and ":" not in name else name


def _from_file(name: str, path: Path, options: ModelOptions) -> Any:
    """Return the architecture of a file of weights, with these weights or with random ones."""
    state = read_weights(path)
    _check_known(name)
    config = _config_beside(path, name)
    arguments = dict(config.get("model_args", {}))
    arguments |= {k: config[k] for k in ("pretrained_cfg", "num_classes") if k in config}
    if "num_classes" not in arguments:
        arguments["num_classes"] = n_classes(state, _classifier_weight(name, arguments))
    with seeded(options.seed):
        module = _timm().create_model(name, pretrained=False, **arguments)
    if not options.untrained:
        load_weights(module, state, path, name)
    return module


def _classifier_weight(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the name of the weight of the classifier that an architecture has or can have."""
    with torch.device("meta"):
        module = _timm().create_model(name, **arguments)
    names = module.pretrained_cfg.get("classifier")
    first = names if isinstance(names, str) else next(iter(names or ()), None)
    return f"{first}.weight" if first else last_matrix(module)


def _config_beside(path: Path, name: str) -> Mapping[str, Any]:
    """Return the config.json beside a weights file, if it is about the architecture ``name``."""
    file = path.with_name("config.json")
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterError(f"{file}: not valid JSON ({error}); repair or remove it") from None
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
        # with a prefetcher timm leaves normalization to its loader
        return np.moveaxis(np.asarray(transform(image)), 0, -1)

    return crop


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}


def _timm() -> Any:
    return import_module("timm")
