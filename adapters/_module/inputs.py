"""What a function of the user's makes of stimuli: the input of a module."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeploc.adapters._torch.pool import Valid
from deeploc.adapters._torch.shape import Shape
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Contents = list[str | Path]
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Any]
Preprocess = Callable[[Contents], Inputs]


def on_device(inputs: Any, device: torch.device, name: str) -> Inputs:
    """Return what was made of stimuli with its tensors on a device.

    Parameters
    ----------
    inputs
        A tensor, a tuple of tensors or a mapping.
    device
        Where to.
    name
        Of the model, for an error.

    Raises
    ------
    AdapterError
        If it is anything else.
    """
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, tuple):
        return tuple(x.to(device) for x in inputs)
    if isinstance(inputs, Mapping):
        return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
    raise AdapterError(
        f"preprocess of {name} returned {type(inputs).__name__}; it must return a "
        "tensor, a tuple of tensors or a mapping of keyword arguments"
    )


def are_maps(inputs: Inputs) -> bool:
    """Return whether inputs are images (batch, colour, row, column)."""
    return isinstance(inputs, Tensor) and inputs.ndim == 4


def shapes(inputs: Inputs) -> tuple[Shape, ...]:
    """Return the shapes of all tensors: equal ones are stacked without padding."""
    if isinstance(inputs, Tensor):
        return (tuple(inputs.shape),)
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    return tuple(tuple(value.shape) for value in values if isinstance(value, Tensor))


def valid_positions(inputs: Inputs, stimuli: Sequence[Stimulus]) -> Valid:
    """Return the positions that are valid in the attention mask of ``inputs``, if it has one.

    Parameters
    ----------
    inputs
        Of some stimuli.
    stimuli
        The same, for an error.

    Raises
    ------
    AdapterError
        If a stimulus has no valid position.
    """
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if mask is None:
        return None
    valid: Tensor = mask.bool()
    for stimulus, row in zip(stimuli, valid.tolist(), strict=True):
        if not any(row):
            raise AdapterError(
                f"stimulus {stimulus.id} has no position to read: its attention mask is empty; "
                "remove it or give it content"
            )
    return valid
