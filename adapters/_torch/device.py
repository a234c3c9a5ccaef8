"""Where a model runs, in which precision, and with which random numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError


def resolved_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA, then MPS, then the CPU.

    Raises
    ------
    AdapterError
        If there is no such device here.
    """
    present = _present()
    if name == "auto":
        return torch.device(present[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in present or not _numbered(device):
        raise AdapterError(
            f"device {name!r} is not available here; available: {', '.join(present)}; "
            "use --device auto to take the best of them"
        )
    return device


def resolved_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype called ``name``; ``None`` means the checkpoint's own.

    ``auto`` is float32 on the CPU, where half precision is often emulated, and the checkpoint's
    own elsewhere.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else None
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise AdapterError(f"no dtype {name!r}; there are auto, {', '.join(dtypes)}")
    return dtypes[name]


def placed(module: nn.Module, options: ModelOptions) -> nn.Module:
    """Return a network of images on its device, in its precision, ready to be read.

    Convolutions run channels last, the faster order on CPUs (`benchmarks/images.py`); it changes
    no value beyond rounding.

    Raises
    ------
    AdapterError
        If there is no such device or precision.
    """
    device = resolved_device(options.device)
    dtype = resolved_dtype(options.dtype, device)
    module.to(device=device, dtype=dtype)
    return module.to(memory_format=torch.channels_last).eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` inside the context; elsewhere nothing changes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _present() -> tuple[str, ...]:
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*cuda, *mps, "cpu")


def _numbered(device: torch.device) -> bool:
    return device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()


def check_no_weights(address: str, options: ModelOptions) -> None:
    """Refuse a file of weights where a model comes with its own.

    Raises
    ------
    AdapterError
        Saying which models take one.
    """
    if options.weights is not None:
        raise AdapterError(
            f"{address} comes with its own weights; --weights FILE is for timm:ARCHITECTURE and "
            "torchvision:NAME"
        )
