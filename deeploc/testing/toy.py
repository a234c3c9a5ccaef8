"""An adapter with known activations: it counts letters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from string import ascii_lowercase
from typing import Any

import numpy as np
from jaxtyping import Float64

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing.edits import Edits

PerPosition = Float64[np.ndarray, "position site_unit"]


class ToyAdapter:
    """A model that counts letters; every position is a character.

    The MLP neuron ``i`` is 1 at every letter ``i``, the unit ``i`` of the block the number of
    letters ``i`` so far. So the last position of the block is the letter counts, and an ablated
    neuron is not counted.

    Parameters
    ----------
    batch_size
        Number of texts per batch.
    """

    identity: Mapping[str, Any] = {"adapter": "toy", "model": "toy", "weights": "none"}
    sites = Layout(
        (
            Site("counter.mlp.down", "mlp-neurons", len(ascii_lowercase), "input"),
            Site("counter", "block", len(ascii_lowercase)),
        )
    )

    def __init__(self, batch_size: int = 3) -> None:
        self._batch_size = batch_size
        self._edits = Edits(self.sites, "toy model")

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the pooled activations of every text once, in order.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        readout
            Pool ``last``, ``mean`` or ``max``; with ``tokens: content`` only letters are read.

        Raises
        ------
        AdapterError
            If a text has no letter, or the pool is another.
        """
        for start in range(0, len(stimuli), self._batch_size):
            chunk = stimuli[start : start + self._batch_size]
            values = np.stack([self._read(stimulus, layout, readout) for stimulus in chunk])
            yield Batch(np.arange(start, start + len(chunk)), values)

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, _: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the activations of every text at every character.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        """
        for number, stimulus in enumerate(stimuli):
            activations = self._forward(str(stimulus.content))
            yield number, {site.name: activations[site.name] for site in layout.sites}

    def ablated(self, ablation: Edit) -> AbstractContextManager[None]:
        """Apply ``ablation`` inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        """
        return self._edits.applied(ablation)

    def _read(
        self, stimulus: Stimulus, layout: Layout, readout: Readout
    ) -> Float64[np.ndarray, " unit"]:
        text = str(stimulus.content)
        read = np.array([readout.tokens == "all" or c.lower() in ascii_lowercase for c in text])
        if not read.any():
            raise AdapterError(f"stimulus {stimulus.id} has no letter to read: {text!r}")
        pools = {"last": lambda x: x[-1], "mean": lambda x: x.mean(0), "max": lambda x: x.max(0)}
        if readout.pool not in pools:
            raise AdapterError(f"the toy model cannot pool {readout.pool!r}")
        activations = self._forward(text)
        return np.concatenate(
            [pools[readout.pool](activations[s.name][read]) for s in layout.sites]
        )

    def _forward(self, text: str) -> dict[str, PerPosition]:
        neurons_site, block_site = self.sites.sites
        neurons = np.array([[float(c.lower() == i) for i in ascii_lowercase] for c in text])
        neurons = self._edited(neurons_site, neurons, text)
        return {
            neurons_site.name: neurons,
            block_site.name: self._edited(block_site, neurons.cumsum(axis=0), text),
        }

    def _edited(self, site: Site, x: PerPosition, text: str) -> PerPosition:
        edited: PerPosition = self._edits.of(site, x[np.newaxis], [text])[0]
        return edited
