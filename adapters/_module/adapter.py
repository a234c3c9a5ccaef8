"""An adapter around any torch module and the function that prepares its input."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablation_hooks
from deeploc.adapters._torch.batching import Indices, each_batch, in_order
from deeploc.adapters._torch.every_pass import hook_every_pass
from deeploc.adapters._torch.identity import describe_module
from deeploc.adapters._torch.pool import Valid, pooling
from deeploc.adapters._torch.read import read_batch
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Batch
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Contents = list[str | Path]
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Any]
Preprocess = Callable[[Contents], Inputs]

_BATCH = 32


class ModuleAdapter:
    """Any module and what prepares its input; maps (batch, unit, row, column) are images."""

    def __init__(
        self,
        module: nn.Module,
        preprocess: Preprocess,
        name: str,
        sites: Sequence[str | Site] | None,
        example: Contents,
        batch_size: int | None,
    ) -> None:
        self.module = module
        self._preprocess = preprocess
        self._name = name
        self._wanted = sites
        self._example = example
        self._batch_size = batch_size or _BATCH

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Architecture, content hash of the weights, dtype, and what prepares the input."""
        prepares = getattr(self._preprocess, "__qualname__", type(self._preprocess).__name__)
        described = describe_module(self.module)
        return {"adapter": "torch", "model": self._name, **described, "preprocess": prepares}

    @cached_property
    def sites(self) -> Layout:
        """The sites asked for, else the output of every block and what is found within it."""
        inputs = self._inputs(self._example)
        n_stimuli = len(self._example) if _are_maps(inputs) else None
        return find_sites(self.module, self._wanted, lambda: self._forward(inputs), n_stimuli)

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every stimulus once, in order.

        Raises
        ------
        AdapterError
            If the read-out needs a tokenizer, or a site cannot be read.
        """
        pool = pooling(readout.pool, layout)
        if readout.max_tokens is not None:
            raise AdapterError(
                f"read.max_tokens is {readout.max_tokens}, but {self._name} has no tokenizer to "
                "truncate with; truncate in preprocess, or give wrap a tokenizer"
            )

        def run(indices: Indices) -> np.ndarray:
            inputs = self._inputs([stimuli[i].content for i in indices])
            return read_batch(
                self.module,
                layout,
                pool,
                lambda: self._forward(inputs),
                len(indices),
                _valid(inputs, [stimuli[i] for i in indices]),
            )

        batches = in_order(len(stimuli), self._batch_size)
        for indices, values in each_batch(batches, run):
            yield Batch(indices, values)

    def ablated(self, ablation: Ablation) -> AbstractContextManager[None]:
        """Apply ``ablation`` to every forward pass inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        """
        return hook_every_pass(self.module, ablation_hooks(ablation, self.module, self.sites))

    def _inputs(self, contents: Contents) -> Inputs:
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        inputs = self._preprocess(contents)
        if isinstance(inputs, Tensor):
            return inputs.to(device)
        if isinstance(inputs, tuple):
            return tuple(x.to(device) for x in inputs)
        if isinstance(inputs, Mapping):
            return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
        raise AdapterError(
            f"preprocess of {self._name} returned {type(inputs).__name__}; it must return a "
            "tensor, a tuple of tensors or a mapping of keyword arguments"
        )

    def _forward(self, inputs: Inputs) -> Any:
        if isinstance(inputs, Tensor):
            return self.module(inputs)
        if isinstance(inputs, tuple):
            return self.module(*inputs)
        taken = inspect.signature(self.module.forward).parameters.values()
        if any(p.name == "attention_mask" or p.kind is p.VAR_KEYWORD for p in taken):
            return self.module(**inputs)
        return self.module(**{k: v for k, v in inputs.items() if k != "attention_mask"})


def _are_maps(inputs: Inputs) -> bool:
    return isinstance(inputs, Tensor) and inputs.ndim == 4


def _valid(inputs: Inputs, stimuli: Sequence[Stimulus]) -> Valid:
    """Return which positions the attention mask among ``inputs`` calls valid, if there is one."""
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
