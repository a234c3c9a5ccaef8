"""An adapter around a network of images, from any library."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL.Image import fromarray
from torch import Tensor, nn

from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.batching import SHOWN, Indices, each_batch, in_order
from deeploc.adapters._torch.identity import describe_module, describe_origin, json_hash
from deeploc.adapters._torch.placement import input_device
from deeploc.adapters._torch.pool import pooling
from deeploc.adapters._torch.quantized import separable_batch_size
from deeploc.adapters._torch.read import eval_mode, read_batch, read_positions
from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch, Modality, ModelOptions, Predictions
from deeploc.core.pictures import Picture
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode
from deeploc.stimuli.threads import threads

from .attribute import AttributesImages
from .classify import PredictionCache, feature_site, predict_batch
from .prepare import ImageCache, Preparation, PreparedImages

_BATCH = {"cpu": 16}
_BATCH_ELSEWHERE = 64
_VALUES = 2**24
"""Most activations read in one forward pass, where every position is a unit: 64 MiB."""

Size = tuple[int, int, int]
"""Colours, rows and columns of the input."""


class ImageAdapter(AttributesImages):
    """A network of images: reads, ablates, classifies.

    Parameters
    ----------
    module
        The network.
    preparation
        What is done to an image.
    size
        Colours, rows and columns of the input.
    identity
        As JSON, what is known of the network besides its weights and its preparation.
    classes
        The names of every class, in class order; empty where the network names none.
    has_classes
        Whether the output are scores of classes; else it are features.
    options
        How the network was loaded, and the batch size; default: a trained network.
    sites
        Which sites to read; default: those that are discovered.
    """

    modality: ClassVar[Modality] = "image"

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
        self._cache = ImageCache()
        self._predictions = PredictionCache(module)
        self._device = input_device(module)
        self._dtype = next(module.parameters(), torch.zeros(())).dtype
        self._options = options or ModelOptions()

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Library, name, content hash of the weights, dtype and preparation, as JSON."""
        return {
            **self._identity,
            **describe_module(self.module),
            **describe_origin(self._options),
            **({"classes": json_hash(self.classes)} if self.classes else {}),
            "preparation": dict(self._preparation.described),
        }

    @cached_property
    def sites(self) -> Layout:
        """Embedding, blocks, their parts and convolutions, as far as the network has them."""
        return find_sites(self.module, self._wanted, *self._probe())

    @cached_property
    def _batch(self) -> int:
        usual = _BATCH.get(self._device.type, _BATCH_ELSEWHERE)
        asked = self._options.batch_size or usual
        return separable_batch_size(self.module, self._probe()[0], asked) or asked

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every image once, in order.

        Parameters
        ----------
        stimuli
            Image files.
        layout
            The sites to read.
        readout
            How positions are pooled.

        Raises
        ------
        AdapterError
            If a stimulus is no image, or the pool does not apply to images.
        ContrastError
            Naming the file of an image that cannot be read.
        """
        pool = pooling(readout.pool, layout)
        all_positions = readout.pool == "none"
        largest = max(_VALUES // max(layout.n_units, 1), 1) if all_positions else self._batch
        batches = in_order(len(stimuli), min(largest, self._batch))
        with threads() as decoding:
            prepared = PreparedImages(stimuli, self._preparation, batches, decoding)

            def run(indices: Indices) -> np.ndarray:
                images = self._input(prepared.take(indices))
                forward = partial(self.module, images)
                return read_batch(self.module, layout, forward, pool=pool, n_stimuli=len(indices))

            for indices, values in each_batch(batches, run):
                yield Batch(indices, values)

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, _: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the activations of every image at every position.

        Parameters
        ----------
        stimuli
            Image files.
        layout
            The sites to read.
        """
        shown = sum(site.n_units * (site.n_positions or 1) for site in layout.sites)
        batches = in_order(len(stimuli), min(max(SHOWN // max(shown, 1), 1), self._batch))
        with threads() as decoding:
            prepared = PreparedImages(stimuli, self._preparation, batches, decoding)

            def run(indices: Indices) -> list[dict[str, np.ndarray]]:
                images = self._input(prepared.take(indices))
                forward = partial(self.module, images)
                return read_positions(self.module, layout, forward, n_stimuli=len(indices))

            for indices, rows in each_batch(batches, run):
                yield from zip(indices.tolist(), rows, strict=True)

    def pictures(self, stimuli: Sequence[Stimulus]) -> Iterator[Picture]:
        """Yield every image as the network is shown it, in order.

        Parameters
        ----------
        stimuli
            Image files.
        """
        for stimulus in stimuli:
            yield self._preparation.picture(decode(Path(stimulus.content)))

    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        """Apply ``ablation`` to every forward pass inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        AdapterError
            When a forward pass or the context ends, if a site was not ablated in a pass.
        """
        sites = self._names.with_those_of(ablation.mask.layout)
        with ablated(ablation, self.module, sites, self.module):
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
        with threads() as decoding, eval_mode(self.module):
            prepared = PreparedImages(stimuli, self._preparation, batches, decoding, self._cache)

            def run(indices: Indices) -> tuple[np.ndarray, np.ndarray]:
                images = self._input(prepared.take(indices))
                return predict_batch(self.module, self._features, images)

            parts = [values for _, values in each_batch(batches, run)]
        logits, features = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Predictions(logits if self._has_classes else None, features)

    @cached_property
    def _features(self) -> Site:
        with eval_mode(self.module):
            return feature_site(self.module, *self._probe(), has_classes=self._has_classes)

    @property
    def _root(self) -> nn.Module:
        root: nn.Module = self.module
        return root

    def _find(self, sites: Sequence[Site], lenient: bool) -> Layout:
        return find_sites(self.module, sites, *self._probe(), lenient=lenient)

    def _probe(self) -> tuple[Callable[[], Any], int]:
        """Return a forward pass of two different images, and their number."""
        generator = torch.Generator().manual_seed(0)
        if self._preparation.is_packed:  # noise would be no valid arguments
            pictures = torch.randint(256, (2, 64, 64, 3), generator=generator, dtype=torch.uint8)
            made = [self._preparation.crop(fromarray(picture.numpy())) for picture in pictures]
            images = self._input(torch.from_numpy(np.stack(made)))
        else:
            noise = torch.rand((2, *self._size), generator=generator)
            images = noise.to(self._device, self._dtype)
        return (lambda: self.module(images)), len(images)

    def _input(self, pixels: Tensor) -> Float[Tensor, "image colour row column"]:
        return self._preparation.normalized(pixels, self._device, self._dtype)
