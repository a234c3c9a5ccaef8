"""Sequences as recurrent layers of torch take and return them, as (stimulus, position, unit)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

HookFunction = Callable[[Tensor], Tensor | None]


def stimuli_first(module: nn.Module, value: Any, function: HookFunction) -> HookFunction:
    """Return a hook function for what enters or leaves a module, called with stimuli first.

    Parameters
    ----------
    module
        Recurrent layers of torch hold (position, stimulus, unit), unless ``batch_first``.
    value
        What enters or leaves it; packed sequences are put in order by `replace_packed`.
    function
        Called with (stimulus, position, unit).
    """
    if not isinstance(module, nn.RNNBase) or module.batch_first or _is_packed(value):
        return function

    def swapped(x: Tensor) -> Tensor | None:
        if x.ndim != 3:
            return function(x)
        new = function(x.transpose(0, 1))
        return None if new is None else new.transpose(0, 1)

    return swapped


def replace_packed(packed: PackedSequence, function: HookFunction) -> PackedSequence:
    """Return packed sequences with what ``function`` returns for them; themselves for ``None``.

    Parameters
    ----------
    packed
        Sequences of several lengths without padding.
    function
        Called with (stimulus, position, unit), nan beyond the end of a sequence: whoever takes
        these for activations has nan for a result, and none that looks like one.
    """
    padded, _ = pad_packed_sequence(packed, batch_first=True, padding_value=torch.nan)
    new = function(padded)
    if new is None:
        return packed
    if packed.sorted_indices is not None:
        new = new[packed.sorted_indices]
    columns = enumerate(packed.batch_sizes.tolist())
    data = torch.cat([new[:n, position] for position, n in columns])
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def _is_packed(value: Any) -> bool:
    if isinstance(value, tuple) and not isinstance(value, PackedSequence):
        return any(map(_is_packed, value))
    return isinstance(value, PackedSequence)
