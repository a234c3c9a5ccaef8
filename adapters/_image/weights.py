"""Weights from a local file into an architecture: safetensors, or a pickle of tensors only."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deeploc.errors import AdapterError

State = Mapping[str, Tensor]

_PICKLES = (".pth", ".pt", ".bin")


def read_weights(path: Path) -> State:
    """Return the state dict in a file; a pickle is read without running any code of its own.

    Raises
    ------
    AdapterError
        If there is no such file, or no state dict in it.
    """
    if not path.is_file():
        raise AdapterError(f"--weights {path}: there is no such file")
    try:
        state = _read(path)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, TypeError) as error:
        raise AdapterError(
            f"--weights {path}: not readable as weights ({_short(error)}); "
            "give a state dict as .safetensors, or as .pth of tensors only"
        ) from error
    except Exception as error:  # torch raises pickle's own errors for code inside a pickle
        raise AdapterError(
            f"--weights {path}: refused, it holds more than tensors ({_short(error)}); "
            "convert it to .safetensors where you trust it"
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise AdapterError(f"--weights {path}: not a state dict, name -> tensor")
    return state


def load_weights(module: nn.Module, state: State, path: Path, name: str) -> None:
    """Copy a state dict into ``module``; parts that only training uses may be missing.

    Raises
    ------
    AdapterError
        Naming the first weight that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in state and not k.lower().startswith("aux")]
    unknown = [k for k in state if k not in own and not k.lower().startswith("aux")]
    unlike = [k for k in state if k in own and state[k].shape != own[k].shape]
    for fault, keys in (
        ("lacks", missing),
        ("has the unknown", unknown),
        ("has another shape of", unlike),
    ):
        if keys:
            raise AdapterError(
                f"--weights {path} does not fit {name}: it {fault} {keys[0]!r} "
                f"({len(keys)} such weights); name the architecture it was trained as"
            )
    module.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)


def n_classes(module: nn.Module, state: State) -> int | None:
    """Return how many classes ``state`` tells apart: the rows of the last matrix of ``module``."""
    last = [name for name, parameter in module.named_parameters() if parameter.ndim > 1][-1]
    return int(state[last].shape[0]) if last in state else None


def _read(path: Path) -> State:
    if path.suffix not in _PICKLES:
        return load_file(path)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    inner = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
