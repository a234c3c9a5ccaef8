"""Device, precision and random numbers of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

_DEFAULT = ModelOptions()


def resolved_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA, then MPS, then the CPU.

    Raises
    ------
    AdapterError
        If there is no such device.
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
            f"device {name!r} is not available; available: {', '.join(present)}; "
            "use --device auto to take the best of them"
        )
    return device


def resolved_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype called ``name``; ``None`` means the dtype of the checkpoint.

    Parameters
    ----------
    name
        ``float32``, ``bfloat16``, ``float16``, or ``auto``: float32 on the CPU, where half
        precision is often emulated, and the dtype of the checkpoint elsewhere.
    device
        Where the model will run.

    Raises
    ------
    AdapterError
        If there is no such dtype.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else None
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise AdapterError(f"no dtype {name!r}; there are auto, {', '.join(dtypes)}")
    return dtypes[name]


def prepare_network(module: nn.Module, options: ModelOptions) -> nn.Module:
    """Move a network of images to its device and precision, and into evaluation mode.

    Convolutions use the memory format channels last, which is faster on CPUs
    (`benchmarks/images.py`) and changes values by rounding only.

    Parameters
    ----------
    module
        The network; it is changed and returned.
    options
        With device and dtype.

    Raises
    ------
    AdapterError
        If there is no such device or precision.
    """
    device = resolved_device(options.device)
    dtype = resolved_dtype(options.dtype, device)
    module.to(device=device, dtype=dtype)
    if any(parameter.ndim == 5 for parameter in module.parameters()):  # channels last has no time
        return module.eval()
    return module.to(memory_format=torch.channels_last).eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random numbers inside the context; the generators outside do not change."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _present() -> tuple[str, ...]:
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*cuda, *mps, "cpu")


def _numbered(device: torch.device) -> bool:
    return device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()


_REFUSED = {
    "weights": "includes its weights; --weights FILE is for timm:ARCHITECTURE and torchvision:NAME",
    "revision": "is not on the hub; --revision is for hf:NAME and timm:NAME of the hub",
    "trust_remote_code": "brings no code that would be run; --trust-remote-code is for hf:NAME",
    "device_map": "goes to one device as a whole; --device-map is for hf:NAME, --device for this",
}
"""Option of a model -> what is said of a model that cannot use it."""


def check_unused(address: str, options: ModelOptions, *names: str) -> None:
    """Refuse options that a model cannot use: none is ignored.

    Parameters
    ----------
    address
        The model, as the user gave it.
    options
        How it is to be loaded.
    names
        Those that it cannot use.

    Raises
    ------
    AdapterError
        Naming the models that can.
    """
    for name in names:
        if getattr(options, name) != getattr(_DEFAULT, name):
            raise AdapterError(f"{address} {_REFUSED[name]}")
