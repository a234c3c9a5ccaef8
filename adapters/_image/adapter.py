"""An adapter around any network that is shown images, whatever library it comes from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablation_hooks
from deeploc.adapters._torch.batching import Indices, each_batch, in_order
from deeploc.adapters._torch.every_pass import hook_every_pass
from deeploc.adapters._torch.identity import describe_module, describe_origin
from deeploc.adapters._torch.pool import pooling
from deeploc.adapters._torch.read import evaluating, read_batch
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Batch, ModelOptions, Predictions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.stimuli import Stimulus
from deeploc.stimuli.threads import threads

from .classify import PredictionCache, feature_site, predict_batch
from .prepare import Kept, Pictures, Preparation

_BATCH = {"cpu": 16}
_BATCH_ELSEWHERE = 64
_VALUES = 2**24
"""Most activations read in one forward pass, where every position is a unit: 64 MiB."""

Size = tuple[int, int, int]
"""Colours, rows and columns of the input."""


class ImageAdapter:
    """A network of images: reads, ablates, classifies."""

    def __init__(
        self,
        module: nn.Module,
        preparation: Preparation,
        size: Size,
        *,
        identity: Mapping[str, Any],
        classes: Sequence[Sequence[str]] = (),
        has_classes: bool = True,
        options: ModelOptions | None = None,
        sites: Sequence[str | Site] | None = None,
    ) -> None:
        self.module = module
        self.classes = classes
        self._has_classes = has_classes
        self._preparation = preparation
        self._size = size
        self._identity = identity
        self._wanted = sites
        self._kept = Kept()
        self._predictions = PredictionCache(module)
        first = next(module.parameters(), torch.zeros(()))
        self._device, self._dtype = first.device, first.dtype
        self._options = options or ModelOptions()
        self._batch = self._options.batch_size or _BATCH.get(self._device.type, _BATCH_ELSEWHERE)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Library, name, content hash of the weights, dtype and how images are prepared."""
        return {
            **self._identity,
            **describe_module(self.module),
            **describe_origin(self._options),
            "preparation": dict(self._preparation.described),
        }

    @cached_property
    def sites(self) -> Layout:
        """Blocks, MLP neurons, attention, convolutions: whatever the network has of them."""
        return find_sites(self.module, self._wanted, *self._probe())

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every image once, in order.

        Raises
        ------
        AdapterError
            If a stimulus is no image, or maps cannot be pooled as asked.
        ContrastError
            Naming the file of an image that cannot be read.
        """
        pool = pooling(readout.pool, layout)
        every = readout.pool == "none"
        largest = max(_VALUES // max(layout.n_units, 1), 1) if every else self._batch
        batches = in_order(len(stimuli), min(largest, self._batch))
        with threads() as decoding:
            pictures = Pictures(stimuli, self._preparation, batches, decoding)

            def run(indices: Indices) -> np.ndarray:
                images = self._input(pictures.take(indices))
                return read_batch(
                    self.module, layout, pool, lambda: self.module(images), len(indices), None
                )

            for indices, values in each_batch(batches, run):
                yield Batch(indices, values)

    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        """Apply ``ablation`` to every forward pass inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        """
        with hook_every_pass(self.module, ablation_hooks(ablation, self.module, self.sites)):
            outside, self._predictions = self._predictions, PredictionCache(self.module)
            try:
                yield
            finally:
                self._predictions = outside

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        """Return logits and features of the images, in order.

        Features are the input of the classifier, averaged over positions; of a network without
        classes they are its output, and it has no logits. The last predictions are kept while
        images, weights and ablation stay the same, so that several tasks share forward passes.

        Raises
        ------
        AdapterError
            If a stimulus is no image, or the output of the network is not (image, class).
        """
        return self._predictions.get(stimuli, self._predict)

    def _predict(self, stimuli: Sequence[Stimulus]) -> Predictions:
        batches = in_order(len(stimuli), self._batch)
        with threads() as decoding, evaluating(self.module):
            pictures = Pictures(stimuli, self._preparation, batches, decoding, self._kept)

            def run(indices: Indices) -> tuple[np.ndarray, np.ndarray]:
                images = self._input(pictures.take(indices))
                return predict_batch(self.module, self._features, images)

            parts = [values for _, values in each_batch(batches, run)]
        logits, features = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Predictions(logits if self._has_classes else None, features)

    @cached_property
    def _features(self) -> Site:
        with evaluating(self.module):
            return feature_site(self.module, *self._probe(), has_classes=self._has_classes)

    def _probe(self) -> tuple[Callable[[], Any], int]:
        """Return a forward pass of two unlike images, and how many they are."""
        noise = torch.rand((2, *self._size), generator=torch.Generator().manual_seed(0))
        images = noise.to(self._device, self._dtype)
        return (lambda: self.module(images)), len(images)

    def _input(self, pixels: Tensor) -> Float[Tensor, "image colour row column"]:
        return self._preparation.normalized(pixels, self._device).to(self._dtype)
