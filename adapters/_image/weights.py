"""Weights from a local file into an architecture: safetensors, or a pickle of tensors only."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deeploc.errors import AdapterError

State = Mapping[str, Tensor]

_OPTIONAL = ("aux", "n_averaged")
"""Beginnings of names that only training uses: auxiliary heads, the counter of an average."""


def read_weights(path: Path) -> State:
    """Return the state dict in a file; a pickle is read without running any code of its own.

    timm's reader unpacks checkpoints of training (``state_dict_ema``, ``model_ema``,
    ``state_dict``, ``model``; averaged weights first) and removes the prefixes of wrappers
    (``module.``, ``_orig_mod.``).

    Raises
    ------
    AdapterError
        If there is no such file, or no state dict in it.
    """
    if not path.is_file():
        raise AdapterError(f"--weights {path}: there is no such file")
    models: Any = import_module("timm.models")
    try:
        state = models.load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:  # a foreign file can raise anything; code in a pickle is not run
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise AdapterError(
            f"--weights {path}: not readable as weights ({reason}); give a state dict as "
            ".safetensors, or as .pth of tensors only"
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise AdapterError(
            f"--weights {path}: not a state dict, name -> tensor, nor a checkpoint with one under "
            "'state_dict_ema', 'model_ema', 'state_dict' or 'model'; save the state dict alone"
        )
    weights: State = state
    return weights


def load_weights(module: nn.Module, state: State, path: Path, name: str) -> None:
    """Copy a state dict into ``module``; parts that only training uses may be missing.

    Parameters
    ----------
    module
        The network, of the architecture ``name``.
    state
        The weights in the file ``path``, from `read_weights`.
    path, name
        For messages.

    Raises
    ------
    AdapterError
        Naming the first weight that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in state and not _is_optional(k)]
    unknown = [k for k in state if k not in own and not _is_optional(k)]
    unlike = [k for k in state if k in own and state[k].shape != own[k].shape]
    for problem, keys in (
        ("lacks", missing),
        ("has the unknown", unknown),
        ("has another shape of", unlike),
    ):
        if keys:
            instead = f" and has {unknown[0]!r}" if missing and unknown else ""
            raise AdapterError(
                f"--weights {path} does not fit {name}: it {problem} {keys[0]!r} "
                f"({len(keys)} such weights){instead}; name the architecture it was trained as, "
                "and rename weights that have other names than in that architecture"
            )
    module.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)


def last_matrix(module: nn.Module) -> str:
    """Return the name of the last parameter with more than one axis: the classifier's weight."""
    return [name for name, parameter in module.named_parameters() if parameter.ndim > 1][-1]


def n_classes(state: State, classifier: str) -> int:
    """Return how many classes ``state`` has; 0 for a network without a classifier.

    Parameters
    ----------
    state
        Weights of a network.
    classifier
        The name of the weight of the classifier, if the network has one.
    """
    return int(state[classifier].shape[0]) if classifier in state else 0


def _is_optional(name: str) -> bool:
    return name.lower().startswith(_OPTIONAL)
