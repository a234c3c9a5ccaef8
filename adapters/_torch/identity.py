"""Identity of a model as JSON: equal identity means equal activations."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from xxhash import xxh3_128

from deeploc.core.adapter import ModelOptions

from .code import module_code, remote_code
from .placement import stored

_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")


def weights_hash(model: nn.Module) -> str:
    """Return a 128-bit hash of name, dtype, shape and bytes of every parameter and buffer.

    What else is in the state dict counts by its content: the packed weights of quantized layers,
    and what a module adds itself. xxh3 is as fast as memory; it is not cryptographic and protects
    from mix-ups, not attackers.
    """
    digest = xxh3_128()
    for name, value in sorted(model.state_dict().items(), key=lambda item: item[0]):
        if isinstance(value, Tensor) and _is_plain(value):
            tensor = stored(model, name, value)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
        else:
            digest.update(f"{name} {structure_hash(value)}".encode())
    return f"xxh3:{digest.hexdigest()}"


def describe_module(model: nn.Module) -> dict[str, Any]:
    """Return architecture, weights, dtype and size of any module, and a hash of a user's code."""
    parameters = _parameters(model)
    code, checkpoint_code = module_code(model), remote_code(model)
    return {
        "architecture": type(model).__name__,
        "weights": weights_hash(model),
        "dtype": str(parameters[0].dtype).removeprefix("torch.") if parameters else "none",
        "parameters": sum(parameter.numel() for parameter in parameters),
        **({"code": json_hash(code)} if code else {}),
        **({"remote_code": checkpoint_code} if checkpoint_code else {}),
    }


def _parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return every parameter once; on the disk a tied one is there under each of its names."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    named = model.named_parameters()
    return [p for name, p in named if not (p.is_meta and name in tied)]


def describe_origin(options: ModelOptions) -> dict[str, Any]:
    """Return whether the weights are random, and their seed."""
    return {"untrained": options.untrained, **({"seed": options.seed} if options.untrained else {})}


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    content: memoryview = flat.view(torch.uint8).numpy().data
    return content


def _is_plain(tensor: Tensor) -> bool:
    """Return whether the bytes of a tensor are all that it says."""
    wrapped = is_traceable_wrapper_subclass(tensor)
    return tensor.layout == torch.strided and not tensor.is_quantized and not wrapped


def _tensor_parts(tensor: Tensor, around: tuple[int, ...]) -> Iterator[bytes | memoryview]:
    """Yield dtype, shape and bytes of a tensor, and the scales of a quantized one."""
    yield f"tensor {tensor.dtype} {tuple(tensor.shape)}".encode()
    if is_traceable_wrapper_subclass(tensor):  # tensors within a tensor, as torchao has them
        names, context = tensor.__tensor_flatten__()
        inner = {name: getattr(tensor, name) for name in names}
        yield from _parts([type(tensor).__qualname__, inner, context], around)
    elif tensor.is_quantized:
        yield from _parts([str(tensor.qscheme()), _scales(tensor), tensor.int_repr()], around)
    else:
        yield _bytes(tensor if tensor.layout == torch.strided else tensor.to_dense())


def _scales(tensor: Tensor) -> list[Any]:
    """Return what the integers of a quantized tensor stand for."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [tensor.q_scale(), tensor.q_zero_point()]
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return [scales, zeros, tensor.q_per_channel_axis()]


def json_hash(value: Any) -> str:
    """Return a 128-bit hash of a JSON value; anything that is not JSON is hashed as text."""
    text = json.dumps(value, sort_keys=True, default=str)
    return f"xxh3:{xxh3_128(text.encode()).hexdigest()}"


def structure_hash(value: Any) -> str:
    """Return a 128-bit hash of tensors, arrays, images and plain values, nested in any way.

    Tensors and arrays count by dtype, shape and bytes (not by device or memory order), mappings
    and sets without order, sequences by their items, other objects by class and attributes.
    """
    digest = xxh3_128()
    for part in _parts(value, ()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return f"xxh3:{digest.hexdigest()}"


def _parts(value: Any, around: tuple[int, ...]) -> Iterator[bytes | memoryview]:
    """Yield what is hashed of ``value``; ``around`` are the ids of the containers it is in."""
    if isinstance(value, Tensor):
        yield from _tensor_parts(value, around)
    elif isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        yield f"array {value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Image):
        yield f"image {value.mode} {value.size}".encode()
        yield value.tobytes()
    elif isinstance(value, str | bytes | bool | int | float | complex | None | EllipsisType):
        yield f"{type(value).__name__} {value!r}".encode("utf-8", "backslashreplace")
    elif id(value) in around:
        yield b"itself"
    else:
        yield from _container_parts(value, (*around, id(value)))


def _container_parts(value: Any, around: tuple[int, ...]) -> Iterator[bytes | memoryview]:
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: (type(item[0]).__name__, repr(item[0])))
        yield f"mapping {len(items)}".encode()
        nested: list[Any] = [part for item in items for part in item]
    elif isinstance(value, Set):
        yield f"set {len(value)}".encode()
        nested = sorted(map(structure_hash, value))
    elif isinstance(value, np.ndarray):
        yield f"array of objects {value.shape}".encode()
        nested = list(value.flat)
    elif isinstance(value, Sequence):
        yield f"{'tuple' if isinstance(value, tuple) else 'list'} {len(value)}".encode()
        nested = list(value)
    elif isinstance(value, torch.ScriptObject):  # packed weights of quantized layers
        yield b"script object"
        nested = [value.__getstate__()]
    else:
        yield f"object {type(value).__module__}.{type(value).__qualname__}".encode()
        nested = [getattr(value, "__dict__", None) or _ADDRESS.sub("", repr(value))]
    for part in nested:
        yield from _parts(part, around)
