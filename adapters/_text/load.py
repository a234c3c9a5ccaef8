"""Load a model of transformers and its tokenizer, with one-line errors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from deeploc.adapters._torch.auto_classes import pretrained_class, without_pooler
from deeploc.adapters._torch.device import resolved_device, resolved_dtype, seeded
from deeploc.adapters._torch.hub import LOCAL_REMEDY, REMEDY
from deeploc.adapters._torch.quiet import quiet_loading
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .tokenize import Tokenizer

_CAUSAL = "AutoModelForCausalLM"

_REASONS = {
    "couldn't connect": "it is not in the local cache and the hub cannot be reached",
    "not a valid json": "its config.json is not valid JSON",
    "model_type": "its config.json does not say which kind of model it is",
    "does not recognize this architecture": "this transformers does not know its architecture",
    "custom code": "it needs code of its own to run, which deeploc does not execute",
    "error no file named": "it has no weights (model.safetensors)",
    "mismatch": "its weights do not have the shapes that its config.json says",
    "deserializing": "its weights file is broken",
    "backend tokenizer": "it has no tokenizer files",
    "gated": "its authors give access on request only; log in with `hf auth login`",
}
"""Part of a message of transformers -> what it means."""


def load_config(name: str, source: Mapping[str, Any]) -> Any:
    """Return the config of a checkpoint, before anything large is read.

    Parameters
    ----------
    name
        Of the model, for messages.
    source
        Arguments of ``from_pretrained``, from `locate`.

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
        Arguments of ``from_pretrained``, from `locate`.

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
    name: str, source: Mapping[str, Any], options: ModelOptions, autos: Sequence[str] = (_CAUSAL,)
) -> Any:
    """Return the model of a checkpoint, on its device and in evaluation mode.

    Parameters
    ----------
    name
        Of the model, for messages.
    source
        Arguments of ``from_pretrained``, from `locate`.
    options
        With ``untrained`` the weights are initialized in float32 on the CPU, so that a seed gives
        the same model on every device and, up to rounding, in every dtype.
    autos
        Auto classes of transformers, the best first; the first of them is taken whose weights the
        checkpoint has all.

    Raises
    ------
    AdapterError
        With the model, why it cannot be loaded, and what to do.
    """
    device = resolved_device(options.device)
    dtype = resolved_dtype(options.dtype, device)
    lacking: list[str] = []
    with load_errors(f"model {name!r}", source):
        if options.untrained:
            return _random(source, options.seed, dtype, autos[0]).to(device).eval()
        for auto in autos:
            model, missing = _pretrained(source, dtype, auto)
            if not missing:
                return model.to(device).eval()
            lacking = lacking or missing
    what = "causal language model" if autos[0] == _CAUSAL else "model of its kind"
    raise AdapterError(
        f"model {name!r} cannot be loaded: its checkpoint lacks {len(lacking)} weights of a "
        f"{what} (first: {lacking[0]}); give a checkpoint that has them all"
    )


def _pretrained(
    source: Mapping[str, Any], dtype: torch.dtype | None, auto: str
) -> tuple[Any, list[str]]:
    config = _transformers().AutoConfig.from_pretrained(**source)
    model, info = pretrained_class(config, auto).from_pretrained(
        **source, **without_pooler(config, auto), dtype=dtype or "auto", output_loading_info=True
    )
    return model, sorted(info["missing_keys"])


def _random(source: Mapping[str, Any], seed: int, dtype: torch.dtype | None, auto: str) -> Any:
    config = _transformers().AutoConfig.from_pretrained(**source)
    checkpoint_dtype = config.dtype or torch.float32
    more = without_pooler(config, auto)
    with seeded(seed):
        model = getattr(_transformers(), auto).from_config(config, dtype=torch.float32, **more)
    return model.to(dtype or checkpoint_dtype)


def _transformers() -> Any:
    return import_module("transformers")  # not before: the import takes half of the start-up time


@contextmanager
def load_errors(what: str, source: Mapping[str, Any]) -> Iterator[None]:
    """Turn every exception of transformers into one line, and keep it from printing."""
    try:
        with quiet_loading():
            yield
    except AdapterError:
        raise
    except torch.OutOfMemoryError as error:
        raise AdapterError(
            f"{what} does not fit into the device's memory; use --dtype bfloat16 or --device cpu"
        ) from error
    except Exception as error:  # a broken file can raise anything
        local = Path(source["pretrained_model_name_or_path"]).is_dir()
        remedy = LOCAL_REMEDY if local else REMEDY
        raise AdapterError(f"{what} cannot be loaded: {_reason(error)}; {remedy}") from error


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split())
    for part, meaning in _REASONS.items():
        if part in message.lower():
            return meaning
    return f"{type(error).__name__}: {message[:200]}"
