"""Where the weights of a model are: on one device, or spread by accelerate, on the disk too."""

import json
import shutil
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor, nn

from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .device import resolved_device, resolved_dtype
from .packages import optional_package

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_OFFLOADED = "deeploc-offload-"
DeviceMap = str | Mapping[str, str | int]


@dataclass(frozen=True)
class Placement:
    """Where a model goes, and in which precision.

    Parameters
    ----------
    device
        The one device.
    dtype
        ``None``: that of the checkpoint.
    device_map
        A strategy of accelerate, or the device of every module; ``None``: all on ``device``.
    """

    device: torch.device
    dtype: torch.dtype | None
    device_map: DeviceMap | None = None

    def loaded(self, load: Callable[..., Any]) -> Any:
        """Return the model that ``load`` reads, spread already if there is a device map.

        Parameters
        ----------
        load
            Takes ``device_map`` and ``offload_folder``, or nothing, and returns the model, on the
            CPU in the latter case, and what else there is to say: a pair.
        """
        if self.device_map is None:
            return load()
        folder = mkdtemp(prefix=_OFFLOADED)
        try:
            model, info = load(device_map=self.device_map, offload_folder=folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _owned_by(model, folder)
        return model, info

    def put(self, model: Any) -> Any:
        """Return a model that is on the CPU, moved to where it belongs."""
        if self.device_map is None:
            return model.to(self.device)
        accelerate = optional_package("accelerate", "--device-map")
        folder = mkdtemp(prefix=_OFFLOADED)
        _owned_by(model, folder)
        spread: Any = self.device_map
        devices = _inferred(model, spread) if isinstance(spread, str) else dict(spread)
        if "" in devices:  # the whole model, which accelerate does not write to the disk
            devices = {path: devices[""] for path, _ in model.named_children()} | devices
            del devices[""]
        return accelerate.dispatch_model(
            model,
            device_map=devices,
            offload_dir=folder,
            skip_keys=getattr(model, "_skip_keys_device_placement", None),
        )


def placement(options: ModelOptions) -> Placement:
    """Return where a model is to go.

    Parameters
    ----------
    options
        With ``device``, ``dtype`` and ``device_map``.

    Raises
    ------
    AdapterError
        If there is no such device, dtype or device map, or accelerate is not installed.
    """
    device = resolved_device(options.device)
    dtype = resolved_dtype(options.dtype, device)
    if options.device_map is None:
        return Placement(device, dtype)
    if options.device != "auto":
        raise AdapterError(
            f"--device {options.device} and --device-map {options.device_map} both say where the "
            "model goes; give one of them"
        )
    optional_package("accelerate", f"--device-map {options.device_map}")
    return Placement(device, dtype, _device_map(options.device_map))


def input_device(module: nn.Module) -> torch.device:
    """Return the device on which a module takes its input.

    Parameters
    ----------
    module
        Any module; weights that accelerate keeps on the disk have no device of their own.
    """
    for inner in module.modules():
        execution = getattr(_hook(inner), "execution_device", None)
        if execution is not None:
            return torch.device(execution)
        tensors = (*inner._parameters.values(), *inner._buffers.values())
        own = next((tensor for tensor in tensors if tensor is not None), None)
        if own is not None:
            return own.device
    return torch.device("cpu")


def stored(model: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """Return the values of a tensor, also of one that accelerate keeps on the disk.

    Parameters
    ----------
    model
        The model.
    name
        The name of the tensor in its state dict.
    tensor
        The tensor there.

    Raises
    ------
    AdapterError
        If the tensor has no values anywhere.
    """
    if not tensor.is_meta:
        return tensor
    parts = name.split(".")
    for n in reversed(range(len(parts))):
        weights = getattr(_hook(model.get_submodule(".".join(parts[:n]))), "weights_map", None)
        if weights is not None:
            try:
                values: Tensor = weights[".".join(parts[n:])]
            except KeyError:  # of a module further out
                continue
            return values.to(tensor.dtype)
    raise AdapterError(
        f"weight {name} has no values: it is on the device 'meta'; load the weights into the model"
    )


def _inferred(model: Any, strategy: str) -> dict[str, Any]:
    """Return the device of every module by a strategy of accelerate, as transformers does."""
    accelerate = optional_package("accelerate", "--device-map")
    whole = sorted(getattr(model, "_no_split_modules", None) or ())
    memory = accelerate.utils.get_max_memory()
    if strategy != "sequential":
        low = strategy == "balanced_low_0"
        memory = accelerate.utils.get_balanced_memory(
            model, memory, no_split_module_classes=whole, low_zero=low
        )
    inferred: dict[str, Any] = accelerate.infer_auto_device_map(
        model, memory, no_split_module_classes=whole
    )
    return inferred


def _owned_by(model: Any, folder: str) -> None:
    """Remove a folder as soon as the model is gone, at the latest when the process ends."""
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)


def _hook(module: nn.Module) -> Any:
    """Return what accelerate attached to a module to move its weights, if anything."""
    hook = getattr(module, "_hf_hook", None)
    several = getattr(hook, "hooks", None)
    moves = (h for h in several or () if hasattr(h, "weights_map"))
    return next(moves, None) if several else hook


def _device_map(text: str) -> DeviceMap:
    if text in _STRATEGIES:
        return text
    if not text.endswith(".json"):
        return {"": text if text == "disk" else str(resolved_device(text))}
    try:
        devices = json.loads(Path(text).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"--device-map {text} cannot be read: {error}") from None
    entries = devices.items() if isinstance(devices, Mapping) else [(None, None)]
    if not all(isinstance(k, str) and isinstance(v, str | int) for k, v in entries):
        raise AdapterError(
            f"--device-map {text} must hold a mapping of module paths to devices, e.g. "
            '{"model.layers.0": 0, "model.layers.1": "cpu", "lm_head": "disk"}'
        )
    return dict(devices)
