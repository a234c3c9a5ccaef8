"""The model behind `deeploc.testing.planted`: arrays that respond to texts and score them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Batch, TextRequest, TextScore
from deeploc.core.positions import Positions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Selection, Vector
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import substream
from deeploc.testing.edits import Edits

Matrix = Float64[np.ndarray, "stimulus unit"]

TARGET = "target"
"""Texts that begin with this word are targets; all others are not."""

SHARED = 0.3
"""The share of the variance of every unit that it shares with others."""

STRENGTH = 4.0
"""The mean log-odds of a right answer of the intact network."""


@dataclass(frozen=True)
class Network:
    """The numbers that a planted network consists of.

    The activation of a unit is ``scale * (mean + preference * target + noise)``, where ``target``
    is 1 for a target and 0 else, and the noise has the variance 1 within a condition.

    Parameters
    ----------
    layout
        The sites.
    seed
        Of the noise; together with a text it decides all random numbers.
    scale
        The standard deviation within a condition.
    mean
        The mean for texts that are no targets, in standard deviations.
    preference
        How much higher the mean for targets is: Cohen's d.
    loadings
        How a unit depends on what units share; rows have the length 1.
    weights
        How much of the score of a target (row 0) or of another text (row 1) rests on each unit;
        rows sum to 1.
    required
        Units without which, at 0, no information passes.
    """

    layout: Layout
    seed: int
    scale: Vector
    mean: Vector
    preference: Vector
    loadings: Float64[np.ndarray, "unit factor"]
    weights: Float64[np.ndarray, "outcome unit"]
    required: Selection

    @cached_property
    def hash(self) -> str:
        """The sha256 of all numbers."""
        digest = hashlib.sha256(repr((self.layout.units, self.seed)).encode())
        numbers = (self.scale, self.mean, self.preference, self.loadings, self.weights)
        for array in (*numbers, self.required):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Presented:
    """What some texts do to the intact network, and what becomes of it downstream.

    ``gains`` is how a standard deviation of each unit counts as evidence, ``difficulty`` the
    log-odds that a text itself adds.
    """

    texts: tuple[str, ...]
    activations: Matrix
    expected: Matrix
    gains: Matrix
    difficulty: Float64[np.ndarray, " stimulus"]

    @classmethod
    def of(cls, texts: tuple[str, ...], network: Network) -> "_Presented":
        n_units, n_factors = network.loadings.shape
        private = np.empty((len(texts), n_units))
        shared = np.empty((len(texts), n_factors))
        difficulty = np.empty(len(texts))
        for row, text in enumerate(texts):
            rng = substream(network.seed, text)
            rng.standard_normal(out=private[row])
            rng.standard_normal(out=shared[row])
            difficulty[row] = rng.standard_normal()
        target = np.array([text.startswith(TARGET) for text in texts], dtype=bool)
        expected = network.mean + target[:, None] * network.preference
        noise = np.sqrt(SHARED) * (shared @ network.loadings.T) + np.sqrt(1 - SHARED) * private
        gains = private * network.weights[np.where(target, 0, 1)] / np.sqrt(1 - SHARED)
        return cls(texts, network.scale * (expected + noise), expected, gains, difficulty)


class PlantedAdapter:
    """A network in which it is known what each unit responds to and what it is needed for.

    Downstream of all sites, a text is scored by how much of what the units say about it arrives:
    its log-odds are `STRENGTH` times the weighted agreement between the part of each unit's noise
    that is the unit's own (what it says of this text) and its deviation, after all edits, from its
    mean in this condition. So a unit's information is lost when the unit is held at 0 or at its
    mean alike. A text is one token and has one position.

    Parameters
    ----------
    network
        Its numbers.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._edits = Edits(network.layout, "planted network")
        self._last: _Presented | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """The hash of the numbers of the network."""
        return {"adapter": "planted", "model": "planted", "weights": self.network.hash}

    @property
    def sites(self) -> Layout:
        """All sites; they do not feed into each other."""
        return self.network.layout

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of all texts in one batch.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        readout
            Pool ``last``, ``mean`` or ``max``, which are the same for one position.

        Raises
        ------
        AdapterError
            If the pool is another.
        """
        if readout.pool not in ("last", "mean", "max"):
            raise AdapterError(f"the planted network cannot pool {readout.pool!r}")
        presented = self._present(tuple(str(stimulus.content) for stimulus in stimuli))
        values = self._edited(presented)
        columns = [values[:, self.sites.slices[site.name]] for site in layout.sites]
        yield Batch(np.arange(len(stimuli)), np.concatenate(columns, axis=1))

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[tuple[int, Positions]]:
        """Yield the activations of every text at its only position.

        Parameters
        ----------
        stimuli
            Texts.
        layout
            The sites to read.
        readout
            As for `activations`.
        """
        for batch in self.activations(stimuli, layout, readout):
            for number, row in zip(batch.indices.tolist(), batch.values, strict=True):
                yield number, {name: row[None, part] for name, part in layout.slices.items()}

    def ablated(self, ablation: Edit) -> AbstractContextManager[None]:
        """Apply ``ablation`` inside the context.

        Raises
        ------
        MaskError
            If the mask was made for other sites.
        """
        return self._edits.applied(ablation)

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        """Return the log-probability of every text, prompt and completion together.

        Parameters
        ----------
        requests
            What to score.
        """
        presented = self._present(tuple(r.prompt + r.completion for r in requests))
        values = self._edited(presented)
        deviations = values / self.network.scale - presented.expected
        evidence = np.einsum("su,su->s", presented.gains, deviations)
        arriving = self._passed(presented.activations, values)
        log_odds = STRENGTH * arriving * evidence + presented.difficulty
        logprobs = -np.logaddexp(0.0, -log_odds)
        return [
            TextScore(float(logprob), n_tokens=1, greedy=bool(odds > 0))
            for logprob, odds in zip(logprobs, log_odds, strict=True)
        ]

    def _present(self, texts: tuple[str, ...]) -> _Presented:
        """Return what texts do; an evaluation presents the same ones again and again."""
        if self._last is None or self._last.texts != texts:
            self._last = _Presented.of(texts, self.network)
        return self._last

    def _edited(self, presented: _Presented) -> Matrix:
        sites, slices = self.sites.sites, self.sites.slices
        intact = {site: presented.activations[:, None, slices[site.name]] for site in sites}
        edited = [self._edits.of(site, intact[site], presented.texts)[:, 0] for site in sites]
        values: Matrix = np.concatenate(edited, axis=1)
        return values

    def _passed(self, intact: Matrix, edited: Matrix) -> Float64[np.ndarray, " stimulus"]:
        """Return the share of information that passes, given what is left of required units."""
        required = self.network.required
        left = np.clip(edited[:, required] / intact[:, required], 0.0, 1.0)
        passed: Float64[np.ndarray, " stimulus"] = left.prod(axis=1)
        return passed
