"""What a model is, as JSON: equal identity means equal activations."""

import json
from typing import Any

import torch
from torch import Tensor, nn
from xxhash import xxh3_128

from deeploc.core.adapter import ModelOptions


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


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content: memoryview = flat.view(torch.uint8).numpy().data
    return content


def json_hash(value: Any) -> str:
    """Return a 128-bit hash of a JSON value; what is not JSON counts as its text."""
    text = json.dumps(value, sort_keys=True, default=str)
    return f"xxh3:{xxh3_128(text.encode()).hexdigest()}"
