"""Prepare images: decode files in threads while the network runs, crop and normalize."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor

from deeploc.adapters._torch.pictures import Levels, as_picture
from deeploc.core.pictures import Picture
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode

Pixels = UInt8[np.ndarray, "row column colour"] | Float[np.ndarray, "row column colour"]
Indices = Int[np.ndarray, " _"]

_AHEAD = 2
"""Number of batches that are decoded ahead of the network; more would only fill the memory."""

_CACHE_BYTES = 512 * 2**20
"""Largest size of the prepared images that are kept for the next pass."""


@dataclass(frozen=True)
class Preparation:
    """The preprocessing of a network: images are cropped, then normalized by colour.

    Parameters
    ----------
    crop
        Turns an RGB image into pixels (row, column, colour): integers 0-255, or floats that are
        already normalized.
    mean, std
        Of every colour, on the scale 0-1; not used for floats.
    described
        As JSON, all that decides the result.
    is_packed
        Whether the pixels are arguments of the network written one after the other (`Packing`),
        which stay as they are.
    """

    crop: Callable[[Image], Pixels]
    mean: Sequence[float]
    std: Sequence[float]
    described: Mapping[str, Any]
    is_packed: bool = False

    def normalized(
        self,
        pixels: Shaped[Tensor, "image row column colour"],
        device: torch.device,
        dtype: torch.dtype,
    ) -> Float[Tensor, "image colour row column"]:
        """Return the input of the network, in the memory format channels last.

        Parameters
        ----------
        pixels
            From ``crop``.
        device
            Where the network runs.
        dtype
            Of the network; images are normalized in float32.
        """
        images = self._normalized(pixels, device)
        return images if self.is_packed else images.to(dtype)

    def picture(self, image: Image) -> Picture:
        """Return an image as the network is shown it, red, green and blue of 0-255.

        Normalization is undone by what black and white images become. Of a network that takes
        packed images it is the whole image.

        Parameters
        ----------
        image
            An RGB image.
        """
        if self.is_packed:
            return np.asarray(image)
        pixels = self.crop(image)
        is_picture = pixels.dtype == np.uint8 and pixels.shape[-1] == 3
        return pixels if is_picture else as_picture(pixels, self._levels)

    @cached_property
    def _levels(self) -> Levels:
        plain = (self.crop(new_image("RGB", (256, 256), (level,) * 3)) for level in (0, 255))
        black, white = (pixels.mean(axis=(0, 1)) for pixels in plain)
        return black, white

    def _normalized(self, pixels: Tensor, device: torch.device) -> Tensor:
        images = pixels.to(device).permute(0, 3, 1, 2)
        if pixels.is_floating_point():
            return images.to(torch.float32)
        scaled = images.to(torch.float32).div_(255)
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=device).view(shape)
        return scaled.sub_(mean).div_(torch.tensor(self.std, device=device).view(shape))


@dataclass
class ImageCache:
    """Prepared images; the least recently used are dropped first.

    Parameters
    ----------
    limit
        Largest size in bytes.
    size
        Current size in bytes.
    images
        Prepared images, the most recently used last.
    """

    limit: int = _CACHE_BYTES
    size: int = 0
    images: OrderedDict[Stimulus, Pixels] = field(default_factory=OrderedDict)

    def get(self, stimulus: Stimulus) -> Pixels | None:
        """Return the image of a stimulus, or ``None`` if it is not in the cache."""
        if stimulus in self.images:
            self.images.move_to_end(stimulus)
        return self.images.get(stimulus)

    def put(self, stimulus: Stimulus, image: Pixels) -> None:
        """Add an image, and drop others while the limit is exceeded.

        Parameters
        ----------
        stimulus
            Its stimulus.
        image
            The prepared image.
        """
        if stimulus not in self.images:
            self.size += image.nbytes
        self.images[stimulus] = image
        while self.size > self.limit:
            _, dropped = self.images.popitem(last=False)
            self.size -= dropped.nbytes


class PreparedImages:
    """The images of some stimuli, prepared ahead of the network in the order of the batches.

    Batches can also be taken in another order or size; they are then prepared when taken.

    Parameters
    ----------
    stimuli
        Image files.
    preparation
        What is done to each.
    batches
        Indices of the stimuli in each batch, in the expected order.
    threads
        Where images are decoded and cropped.
    cache
        Images from earlier passes; ``None``: no cache.
    """

    def __init__(
        self,
        stimuli: Sequence[Stimulus],
        preparation: Preparation,
        batches: Iterable[Indices],
        threads: Executor,
        cache: ImageCache | None = None,
    ) -> None:
        self._stimuli = stimuli
        self._preparation = preparation
        self._coming = iter(batches)
        self._cache = cache
        self._futures: dict[int, Future[Pixels]] = {}
        self._threads = threads
        self._start(_AHEAD)

    def take(self, indices: Indices) -> Shaped[Tensor, "image row column colour"]:
        """Return the images of the stimuli at ``indices``, and start to prepare the next batch.

        Raises
        ------
        ContrastError
            Naming the file that cannot be read.
        AdapterError
            If a stimulus is no image.
        """
        numbers = indices.tolist()
        if any(i in self._futures for i in numbers):  # else taken again, in smaller batches
            self._start(1)
        futures = [self._futures.pop(i) if i in self._futures else self._future(i) for i in numbers]
        images = [future.result() for future in futures]
        if self._cache is not None:
            for i, image in zip(numbers, images, strict=True):
                self._cache.put(self._stimuli[i], image)
        return torch.from_numpy(np.stack(images))

    def _start(self, n_batches: int) -> None:
        for batch in islice(self._coming, n_batches):
            for i in batch.tolist():
                self._futures[i] = self._future(i)

    def _future(self, index: int) -> Future[Pixels]:
        stimulus = self._stimuli[index]
        cached = None if self._cache is None else self._cache.get(stimulus)
        if cached is None:
            return self._threads.submit(self._prepared, stimulus)
        done: Future[Pixels] = Future()
        done.set_result(cached)
        return done

    def _prepared(self, stimulus: Stimulus) -> Pixels:
        path = stimulus.content
        if not isinstance(path, Path):
            raise AdapterError(
                f"stimulus {stimulus.id} is a text, but this model takes images; "
                "use a contrast of `modality: image`"
            )
        return np.ascontiguousarray(self._preparation.crop(decode(path)))
