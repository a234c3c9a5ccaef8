"""A classifier whose every number can be worked out by hand: it computes the mean colour."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Batch, Predictions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode

CLASSES = (
    ("red thing", "crimson"),
    ("green thing", "n00000002"),
    ("blue thing",),
    ("crane", "bird"),
    ("crane", "machine"),
    ("night", "red_thing"),
    ("bird",),
)

WEIGHTS = np.array(
    [
        [8.0, 1.0, 0.0, 3.0, 3.0, -1.0, 0.5],
        [0.0, 8.0, 1.0, 2.0, 2.0, -1.0, 0.5],
        [1.0, 0.0, 8.0, 1.0, 1.0, -1.0, 0.5],
    ],
    dtype=np.float32,
)
"""Weights of red, green and blue (0-1) for each class."""

CONDITIONS = {"reds": (200, 30, 20), "greens": (30, 190, 40), "blues": (10, 40, 210)}


class ColourAdapter:
    """Three units, the mean red, green and blue of an image.

    ``calls`` are the stimuli of every classification.
    """

    identity: Mapping[str, Any] = {"adapter": "colours", "model": "colours", "weights": "none"}
    sites = Layout((Site("retina", "block", 3),))

    def __init__(
        self, weights: np.ndarray = WEIGHTS, classes: Sequence[Sequence[str]] = CLASSES
    ) -> None:
        self.classes = classes
        self.calls: list[tuple[Stimulus, ...]] = []
        self._weights = weights
        self._ablations: list[Ablation] = []

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        del layout, readout  # there is one site without positions
        yield Batch(np.arange(len(stimuli)), self._colours(stimuli))

    @contextmanager
    def ablated(self, ablation: Ablation) -> Iterator[None]:
        self._ablations.append(ablation)
        try:
            yield
        finally:
            self._ablations.pop()

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        self.calls.append(tuple(stimuli))
        features = self._colours(stimuli)
        return Predictions(features @ self._weights, features)

    def _colours(self, stimuli: Sequence[Stimulus]) -> Float32[np.ndarray, "stimulus 3"]:
        images = [np.asarray(decode(Path(stimulus.content))) for stimulus in stimuli]
        x = np.array([image.mean(axis=(0, 1)) / 255 for image in images])
        for ablation in self._ablations:
            held = 0.0 if ablation.offset is None else ablation.offset
            x = np.where(ablation.mask.selected, ablation.gain * x + held, x)
        return x.astype(np.float32)


def paint(path: Path, colour: Sequence[int]) -> Stimulus:
    """Write an image of one colour and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), tuple(colour)).save(path)
    return Stimulus(path.name, path)


def paint_all(folder: Path, n: int) -> dict[str, list[Stimulus]]:
    """Write ``n`` images of each of the `CONDITIONS`, all different."""
    return {
        name: [paint(folder / name / f"{i}.png", (r + i, g + 2 * i, b + i)) for i in range(n)]
        for name, (r, g, b) in CONDITIONS.items()
    }
