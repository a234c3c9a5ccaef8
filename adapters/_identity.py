"""What a model is, as JSON: equal identity means equal activations."""

import json
from typing import Any

import torch
from torch import Tensor, nn
from xxhash import xxh3_128

from deeploc.adapter import ModelOptions

from ._tokens import Tokenizer, rule

_TRIVIAL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "_commit_hash"}
"""What a config says that does not change a number (the dtype is told on its own)."""


def weights_hash(model: nn.Module) -> str:
    """Return a 128-bit hash of name, dtype, shape and bytes of every parameter and buffer.

    xxh3 is not cryptographic, and as fast as memory: it names content, it does not guard it.
    """
    digest = xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return f"xxh3:{digest.hexdigest()}"


def describe_module(model: nn.Module) -> dict[str, Any]:
    """Return architecture, weights, dtype and size of any module."""
    parameters = list(model.parameters())
    return {
        "architecture": type(model).__name__,
        "weights": weights_hash(model),
        "dtype": str(parameters[0].dtype).removeprefix("torch.") if parameters else "none",
        "parameters": sum(parameter.numel() for parameter in parameters),
    }


def describe_origin(options: ModelOptions) -> dict[str, Any]:
    """Return whether the weights were drawn at random, and from which seed."""
    return {"untrained": options.untrained, **({"seed": options.seed} if options.untrained else {})}


def describe_causal_lm(model: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return what decides the activations of a causal LM beside its weights."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in _TRIVIAL}
    described = {
        **describe_module(model),
        "config": _hash(config),
        "attention": getattr(model.config, "_attn_implementation", None),
        "tokenizer": type(tokenizer).__name__,
        "tokenizer_hash": _hash(_tokenizer_content(tokenizer)),
        "bos": rule(tokenizer),
    }
    revision = getattr(model.config, "_commit_hash", None)
    return described | ({"revision": revision} if revision else {})


def _tokenizer_content(tokenizer: Tokenizer) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sorted(tokenizer.get_vocab().items())
    content = json.loads(backend.to_str())
    # set anew by every call, so not a property of the tokenizer
    return {key: value for key, value in content.items() if key not in ("truncation", "padding")}


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content: memoryview = flat.view(torch.uint8).numpy().data
    return content


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return f"xxh3:{xxh3_128(text.encode()).hexdigest()}"
