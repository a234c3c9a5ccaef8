"""Load a model of transformers and its tokenizer, with one-line errors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from deeploc.adapters._torch.auto_classes import CAUSAL, pretrained_class, without_pooler
from deeploc.adapters._torch.checkpoint import LOCAL_REMEDY, REMEDY, Checkpoint
from deeploc.adapters._torch.device import seeded
from deeploc.adapters._torch.peft import merged, resize_for
from deeploc.adapters._torch.placement import Placement, placement
from deeploc.adapters._torch.quiet import quiet_loading
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .tokenize import Tokenizer

_REASONS = {
    "couldn't connect": "it is not in the local cache and the hub cannot be reached",
    "not a valid json": "its config.json is not valid JSON",
    "model_type": "its config.json does not say which kind of model it is",
    "does not recognize this architecture": "this transformers does not know its architecture",
    "error no file named": "it has no weights (model.safetensors)",
    "mismatch": "its weights do not have the shapes that its config.json says",
    "deserializing": "its weights file is broken",
    "backend tokenizer": "it has no tokenizer files",
    "gated": "its authors give access on request only; log in with `hf auth login`",
}
"""Part of a message of transformers -> what it means."""

_HAS_CODE = (
    "it needs Python code of its own, which is never run unasked; read that code, and if you trust "
    "it add --trust-remote-code"
)


def load_config(name: str, source: Mapping[str, Any]) -> Any:
    """Return the config of a checkpoint, before anything large is read.

    Parameters
    ----------
    name
        Of the model, for messages.
    source
        Arguments of ``from_pretrained``, of a `Checkpoint`.

    Raises
    ------
    AdapterError
        If there is no checkpoint, or transformers does not know its type.
    """
    with load_errors(f"model {name!r}", source):
        return _transformers().AutoConfig.from_pretrained(**source)


def load_tokenizer(name: str, source: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of a checkpoint.

    Parameters
    ----------
    name
        Of the model, for messages.
    source
        Arguments of ``from_pretrained``, of a `Checkpoint`.

    Raises
    ------
    AdapterError
        If there is none, or its vocabulary is empty.
    """
    with load_errors(f"the tokenizer of {name!r}", source):
        tokenizer = _transformers().AutoTokenizer.from_pretrained(**source)
    # without its files a tokenizer class may still load, with special tokens only
    if len(tokenizer) - len(set(tokenizer.all_special_ids)) < 2:
        raise AdapterError(
            f"model {name!r} has no tokenizer: there is no vocabulary beside its weights; "
            "save its tokenizer (tokenizer.json, tokenizer_config.json) into the same folder"
        )
    return tokenizer


def load_model(
    name: str, checkpoint: Checkpoint, options: ModelOptions, autos: Sequence[str] = (CAUSAL,)
) -> Any:
    """Return the model of a checkpoint, on its device and in evaluation mode.

    Parameters
    ----------
    name
        Of the model, for messages.
    checkpoint
        Where it comes from; an adapter of peft is merged into the weights.
    options
        With ``untrained`` the weights are initialized in float32 on the CPU, so that a seed gives
        the same model on every device and, up to rounding, in every dtype. They are not quantized,
        and an adapter, which changes trained weights, is left out.
    autos
        Auto classes of transformers, the best first; the first of them is taken whose weights the
        checkpoint has all.

    Raises
    ------
    AdapterError
        With the model, why it cannot be loaded, and what to do.
    """
    place = placement(options)
    with load_errors(f"model {name!r}", checkpoint.source):
        if options.untrained:
            model = _random(checkpoint, options.seed, place.dtype, autos[0])
            return place.put(model).eval()
        if checkpoint.is_made:
            alone = replace(place, device_map=None)
            return place.put(_trained(name, checkpoint, alone, autos)).eval()
        model = _trained(name, checkpoint, place, autos)
        return (model if place.device_map else place.put(model)).eval()


def empty_model(checkpoint: Checkpoint, config: Any, auto: str) -> Any:
    """Return the modules of a model in the dtype of its checkpoint; their weights are not read.

    Parameters
    ----------
    checkpoint
        Where it comes from.
    config
        Its configuration.
    auto
        The auto class of transformers that loads it.
    """
    more = {**without_pooler(config, auto), "dtype": config.dtype or torch.float32}
    trusted = checkpoint.source["trust_remote_code"]
    return getattr(_transformers(), auto).from_config(config, trust_remote_code=trusted, **more)


def _trained(name: str, checkpoint: Checkpoint, place: Placement, autos: Sequence[str]) -> Any:
    lacking: list[str] = []
    for auto in autos:
        model, missing = _pretrained(checkpoint, place, auto)
        if not missing:
            return merged(model, checkpoint.adapter) if checkpoint.adapter else model
        lacking = lacking or missing
    what = "causal language model" if autos[0] == CAUSAL else "model of its kind"
    raise AdapterError(
        f"model {name!r} cannot be loaded: its checkpoint lacks {len(lacking)} weights of a "
        f"{what} (first: {lacking[0]}); give a checkpoint that has them all"
    )


def _pretrained(checkpoint: Checkpoint, place: Placement, auto: str) -> tuple[Any, list[str]]:
    source, dtype = checkpoint.source, place.dtype or "auto"
    config = _transformers().AutoConfig.from_pretrained(**source)
    whole = {**without_pooler(config, auto), "dtype": dtype, "output_loading_info": True}

    def load(**more: Any) -> Any:
        return pretrained_class(config, auto).from_pretrained(**source, **more, **whole)

    model, info = place.loaded(load)
    return model, sorted(info["missing_keys"])


def _random(checkpoint: Checkpoint, seed: int, dtype: torch.dtype | None, auto: str) -> Any:
    source = checkpoint.source
    config = _transformers().AutoConfig.from_pretrained(**source)
    checkpoint_dtype = config.dtype or torch.float32
    more = {**without_pooler(config, auto), "trust_remote_code": source["trust_remote_code"]}
    with seeded(seed):
        model = getattr(_transformers(), auto).from_config(config, dtype=torch.float32, **more)
        if checkpoint.adapter is not None:
            resize_for(model, checkpoint.adapter)
    return model.to(dtype or checkpoint_dtype)


def _transformers() -> Any:
    return import_module("transformers")  # not before: the import takes half of the start-up time


@contextmanager
def load_errors(what: str, source: Mapping[str, Any]) -> Iterator[None]:
    """Turn every exception of transformers into one line, and keep it from printing."""
    place = source["pretrained_model_name_or_path"]
    if repr(place) not in what and not Path(place).is_dir():
        what += f" (its base model {place!r})"
    what += f" (revision {source['revision']})" if "revision" in source else ""
    try:
        with quiet_loading():
            yield
    except AdapterError:
        raise
    except torch.OutOfMemoryError as error:
        raise AdapterError(
            f"{what} does not fit into the device's memory; use --dtype bfloat16 or --device cpu"
        ) from error
    except ImportError as error:  # of the library that reads quantized weights, for example
        raise AdapterError(
            f"{what} cannot be loaded: what it needs is missing: {_one_line(error)}"
        ) from error
    except Exception as error:  # a broken file can raise anything
        raise AdapterError(f"{what} cannot be loaded: {_fault(error, source)}") from error


def _fault(error: Exception, source: Mapping[str, Any]) -> str:
    """Return what is wrong, and what to do."""
    message = _one_line(error)
    if "custom code" in message.lower():
        return _HAS_CODE
    known = (meaning for part, meaning in _REASONS.items() if part in message.lower())
    reason = next(known, f"{type(error).__name__}: {message}")
    local = Path(source["pretrained_model_name_or_path"]).is_dir()
    return f"{reason}; {LOCAL_REMEDY if local else REMEDY}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
