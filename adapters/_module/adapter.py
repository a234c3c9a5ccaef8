"""An adapter around any torch module and the function that prepares its input."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.batching import SHOWN, Indices, each_batch
from deeploc.adapters._torch.code import module_settings
from deeploc.adapters._torch.identity import describe_module, structure_hash
from deeploc.adapters._torch.passes import attending
from deeploc.adapters._torch.placement import input_device
from deeploc.adapters._torch.pool import Valid, pooling
from deeploc.adapters._torch.probes import TEXTS, image_files, preparation_hash
from deeploc.adapters._torch.quantized import separable_batch_size
from deeploc.adapters._torch.read import read_batch, read_positions
from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .attribute import AttributesModules
from .inputs import Contents, Inputs, Preprocess, are_maps, on_device, shapes, valid_positions
from .padding import Padding, Rows, longer_pass, outputs
from .pictures import ShowsInputs

_BATCH = 32


class ModuleAdapter(AttributesModules, ShowsInputs):
    """A module and the function that prepares its input.

    Parameters
    ----------
    module
        Any module.
    preprocess
        Turns a list of stimulus contents into a tensor, a tuple of tensors or a mapping of keyword
        arguments; inputs (batch, colour, row, column) are images.
    name
        What the module is called in run folders.
    sites
        Which sites to read; ``None``: those that are discovered.
    example
        Stimulus contents for the forward pass that discovers the sites.
    batch_size
        Largest number of stimuli in a forward pass; ``None``: 32.
    classes
        The names of the classes whose scores the module returns, if it does; it has a loss then.

    Raises
    ------
    AdapterError
        If ``preprocess`` gives two different results for the same stimulus.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocess: Preprocess,
        name: str,
        *,
        sites: Sequence[str | Site] | None,
        example: Contents,
        batch_size: int | None,
        classes: Sequence[str] = (),
    ) -> None:
        self.module = module
        self._classes = classes
        self._preprocess = preprocess
        self._name = name
        self._wanted = sites
        self._example = example
        self._asked = batch_size or _BATCH
        # before any forward pass, because some modules store their last input as an attribute
        self._settings = structure_hash(module_settings(module))
        self._preparation = self._preparation_hash()

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Architecture, dtype, and hashes of weights, code, settings and preparation, as JSON."""
        return {
            "adapter": "torch",
            "model": self._name,
            **describe_module(self.module),
            "settings": self._settings,
            "preprocess": self._preparation,
        }

    @cached_property
    def sites(self) -> Layout:
        """The sites that were given, else those that are discovered."""
        return find_sites(self.module, self._wanted, *self._probe(), longer=self._longer)

    @cached_property
    def _batch_size(self) -> int:
        inputs = self._inputs(self._example)
        size = separable_batch_size(self.module, lambda: self._forward(inputs), self._asked)
        return size or self._asked

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every stimulus once; in order, unless padding is read.

        If a stimulus reads otherwise beside a longer one than alone, only stimuli whose inputs
        are equally long share a forward pass.

        Parameters
        ----------
        stimuli
            Any contents that ``preprocess`` takes.
        layout
            The sites to read.
        readout
            How positions are pooled.

        Raises
        ------
        AdapterError
            If the read-out needs a tokenizer, or a site cannot be read.
        """
        pool = pooling(readout.pool, layout)
        self._check_truncation(readout)

        def run(indices: Indices) -> np.ndarray:
            inputs, valid = self._batch(stimuli, indices)
            forward = partial(self._forward, inputs)
            n = len(indices)
            read = read_batch(self.module, layout, forward, pool=pool, n_stimuli=n, valid=valid)
            if valid is None and self._packs and np.isnan(read).any():
                raise AdapterError(
                    f"{self._name} packs sequences of several lengths, so that some have no "
                    "activation at the last positions: packed sequences are read where a mask says "
                    "where they end; give `attention_mask` in a mapping that preprocess returns"
                )
            return read

        batches = self._batches(stimuli, layout, self._batch_size)
        for indices, values in each_batch(batches, run):
            yield Batch(indices, values)

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the activations of every stimulus at every position.

        Parameters
        ----------
        stimuli
            Any contents that ``preprocess`` takes.
        layout
            The sites to read.
        readout
            Its ``max_tokens`` must be None.

        Raises
        ------
        AdapterError
            If the read-out needs a tokenizer, or a site cannot be read.
        """
        self._check_truncation(readout)

        def run(indices: Indices) -> list[dict[str, np.ndarray]]:
            inputs, valid = self._batch(stimuli, indices)
            forward = partial(self._forward, inputs)
            return read_positions(self.module, layout, forward, n_stimuli=len(indices), valid=valid)

        largest = max(SHOWN // max(layout.n_units, 1), 1)
        batches = self._batches(stimuli, layout, min(largest, self._batch_size))
        for indices, rows in each_batch(batches, run):
            yield from zip(indices.tolist(), rows, strict=True)

    def _batch(self, stimuli: Sequence[Stimulus], indices: Indices) -> tuple[Inputs, Valid]:
        chosen = [stimuli[i] for i in indices]
        inputs = self._inputs([stimulus.content for stimulus in chosen])
        return inputs, valid_positions(inputs, chosen)

    def _batches(
        self, stimuli: Sequence[Stimulus], layout: Layout | None, size: int
    ) -> list[Indices]:
        """Return batches for reading sites, or, without any, for using the output."""
        contents = [stimulus.content for stimulus in stimuli]
        if (
            layout is None and size > 1
        ):  # what is computed from the output has to do with the sites, too
            self._padding.look(contents, self.sites, self._example)
        return self._padding.batches(contents, layout, size, self._example)

    @cached_property
    def _padding(self) -> Padding:
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        dtype = next(floats, torch.float32)
        return Padding(self._name, lambda c: shapes(self._inputs([c])), self._rows, dtype)

    def _rows(self, contents: Contents, layout: Layout | None) -> Rows:
        """Return the activations of contents that share a forward pass, or the outputs."""
        stimuli = [Stimulus(str(number), content) for number, content in enumerate(contents)]
        inputs, valid = self._batch(stimuli, np.arange(len(stimuli)))
        forward = partial(self._forward, inputs)
        if layout is None:
            return outputs(self.module, forward)
        return read_positions(self.module, layout, forward, n_stimuli=len(stimuli), valid=valid)

    @cached_property
    def _packs(self) -> bool:
        """Whether there are layers that take packed sequences."""
        return any(isinstance(module, nn.RNNBase) for module in self.module.modules())

    def _check_truncation(self, readout: Readout) -> None:
        if readout.max_tokens is not None:
            raise AdapterError(
                f"read.max_tokens is {readout.max_tokens}, but {self._name} has no tokenizer to "
                "truncate with; truncate in preprocess, or give wrap a tokenizer"
            )

    def ablated(self, ablation: Edit) -> AbstractContextManager[None]:
        """Apply ``ablation`` to every forward pass inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        AdapterError
            When a forward pass or the context ends, if a site was not ablated in a pass.
        """
        sites = self._names.with_those_of(ablation.mask.layout)
        if self._batch_size > 1:  # before units are ablated
            self._padding.look([], self.sites, self._example)
        return ablated(ablation, self.module, sites, self.module)

    @property
    def _root(self) -> nn.Module:
        root: nn.Module = self.module
        return root

    def _find(self, sites: Sequence[Site], lenient: bool) -> Layout:
        return find_sites(self.module, sites, *self._probe(), longer=self._longer, lenient=lenient)

    def _probe(self) -> tuple[Callable[[], Any], int | None]:
        """Return a forward pass of the example, and the number of its images."""
        inputs = self._inputs(self._example)
        n_stimuli = len(self._example) if are_maps(inputs) else None
        return (lambda: self._forward(inputs)), n_stimuli

    @cached_property
    def _longer(self) -> Callable[[], Any] | None:
        """A forward pass of a longer example; None: there is none that the module takes."""
        return longer_pass(self.module, lambda c: self._forward(self._inputs(c)), self._example)

    def _preparation_hash(self) -> str:
        """Return a hash of the results of ``preprocess`` for fixed stimuli."""
        name = f"preprocess of {self._name}"
        with TemporaryDirectory() as folder:
            probes: Contents = [*self._example, *TEXTS]
            if any(isinstance(content, Path) for content in self._example):
                probes += image_files(Path(folder))
            alone, taken = preparation_hash(self._preprocess, [[p] for p in probes], name=name)
            batch = [content for probe in taken for content in probe]
            together, _ = preparation_hash(self._preprocess, [batch, batch[:2]], name=name)
        return structure_hash([alone, together])

    def _inputs(self, contents: Contents) -> Inputs:
        return on_device(self._preprocess(contents), input_device(self.module), self._name)

    def _forward(self, inputs: Inputs) -> Any:
        if isinstance(inputs, Tensor):
            return self.module(inputs)
        if isinstance(inputs, tuple):
            return self.module(*inputs)
        if self._takes_mask:
            return self.module(**inputs)
        taken = {k: v for k, v in inputs.items() if k != "attention_mask"}
        with attending(inputs.get("attention_mask")):
            return self.module(**taken)

    @cached_property
    def _takes_mask(self) -> bool:
        parameters = inspect.signature(self.module.forward).parameters.values()
        return any(p.name == "attention_mask" or p.kind is p.VAR_KEYWORD for p in parameters)
