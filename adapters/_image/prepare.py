"""Image files into the tensor a network takes, decoded in threads while the network runs."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from PIL.Image import Image
from torch import Tensor

from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode

Pixels = UInt8[np.ndarray, "row column colour"] | Float[np.ndarray, "row column colour"]
Indices = Int[np.ndarray, " _"]

_AHEAD = 2
"""How many batches are decoded ahead of the network: more would only fill the memory."""

_KEPT = 512 * 2**20
"""Bytes of prepared images that are kept for the next time they are shown."""


@dataclass(frozen=True)
class Preparation:
    """How a network wants its images: cropped to a size, then normalized colour by colour.

    ``crop`` turns an RGB image into pixels (row, column, colour), whole numbers 0-255 or
    fractions that are normalized already; ``mean`` and ``std`` are on the scale 0-1; ``described``
    is, as JSON, what decides the result.
    """

    crop: Callable[[Image], Pixels]
    mean: Sequence[float]
    std: Sequence[float]
    described: Mapping[str, Any]

    def normalized(
        self, pixels: Shaped[Tensor, "image row column colour"], device: torch.device
    ) -> Float[Tensor, "image colour row column"]:
        """Return the input of the network in float32; its memory is ordered channels last."""
        there = pixels.to(device).permute(0, 3, 1, 2)
        if pixels.is_floating_point():
            return there.to(torch.float32)
        scaled = there.to(torch.float32).div_(255)
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=device).view(shape)
        return scaled.sub_(mean).div_(torch.tensor(self.std, device=device).view(shape))


@dataclass
class Kept:
    """Prepared images, the longest unused dropped first when they exceed ``limit`` bytes."""

    limit: int = _KEPT
    size: int = 0
    images: OrderedDict[Stimulus, Pixels] = field(default_factory=OrderedDict)

    def get(self, stimulus: Stimulus) -> Pixels | None:
        """Return the image of a stimulus, if it is still kept."""
        if stimulus in self.images:
            self.images.move_to_end(stimulus)
        return self.images.get(stimulus)

    def put(self, stimulus: Stimulus, image: Pixels) -> None:
        """Keep an image."""
        if stimulus not in self.images:
            self.size += image.nbytes
        self.images[stimulus] = image
        while self.size > self.limit:
            _, dropped = self.images.popitem(last=False)
            self.size -= dropped.nbytes


class Pictures:
    """The images of some stimuli, prepared by ``threads`` ahead in the order of ``batches``.

    Batches may also be asked for in another order or size, only then nothing is ready when it is
    asked for.
    """

    def __init__(
        self,
        stimuli: Sequence[Stimulus],
        preparation: Preparation,
        batches: Iterable[Indices],
        threads: Executor,
        kept: Kept | None = None,
    ) -> None:
        self._stimuli = stimuli
        self._preparation = preparation
        self._coming = iter(batches)
        self._kept = kept
        self._futures: dict[int, Future[Pixels]] = {}
        self._threads = threads
        self._look_ahead(_AHEAD)

    def take(self, indices: Indices) -> Shaped[Tensor, "image row column colour"]:
        """Return the images of the stimuli with these numbers, and start on the next batch.

        Raises
        ------
        ContrastError
            Naming the file that cannot be read.
        AdapterError
            If a stimulus is no image.
        """
        numbers = indices.tolist()
        if any(i in self._futures for i in numbers):  # else asked for again, in smaller batches
            self._look_ahead(1)
        waiting = [self._futures.pop(i) if i in self._futures else self._begun(i) for i in numbers]
        images = [future.result() for future in waiting]
        if self._kept is not None:
            for i, image in zip(numbers, images, strict=True):
                self._kept.put(self._stimuli[i], image)
        return torch.from_numpy(np.stack(images))

    def _look_ahead(self, n_batches: int) -> None:
        for batch in islice(self._coming, n_batches):
            for i in batch.tolist():
                self._futures[i] = self._begun(i)

    def _begun(self, index: int) -> Future[Pixels]:
        stimulus = self._stimuli[index]
        known = None if self._kept is None else self._kept.get(stimulus)
        if known is None:
            return self._threads.submit(self._prepared, stimulus)
        done: Future[Pixels] = Future()
        done.set_result(known)
        return done

    def _prepared(self, stimulus: Stimulus) -> Pixels:
        path = stimulus.content
        if not isinstance(path, Path):
            raise AdapterError(
                f"stimulus {stimulus.id} is a text, but this model is shown images; "
                "use a contrast of `modality: image`"
            )
        return np.ascontiguousarray(self._preparation.crop(decode(path)))
