"""The cross entropy of images under a classifier, and its gradient."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.rows import rows_of
from deeploc.adapters._torch.batching import Indices, each_batch, in_order
from deeploc.adapters._torch.gradient import KEPT, Loss, attribute_batch
from deeploc.adapters._torch.hooks import first_tensor
from deeploc.adapters._torch.weights import attribute_weights
from deeploc.core.ablation import Ablation
from deeploc.core.attribution import Attributed, Example, Labelled, Term, WeightAttribution
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.threads import threads

from .classify import scores_of
from .prepare import Preparation, PreparedImages

Images = Float[Tensor, "image colour row column"]


class AttributesImages(NamesModules):
    """The ability `Attributes` of an adapter around a network of images."""

    module: nn.Module
    _has_classes: bool
    _preparation: Preparation

    @cached_property
    @abstractmethod
    def _batch(self) -> int:
        """Largest number of images in a pass."""

    @abstractmethod
    def _probe(self) -> tuple[Callable[[], Any], int]: ...

    @abstractmethod
    def _input(self, pixels: Tensor) -> Images: ...

    def attributions(
        self,
        examples: Sequence[Example],
        ablation: Ablation,
        _: Readout,
        steps: int | None = None,
    ) -> Iterator[Attributed]:
        """Yield what the loss of every image says of the units, in order.

        Parameters
        ----------
        examples
            Images; the loss of one without labels is the cross entropy of the class that the
            intact network finds most probable.
        ablation
            What would be done to the units; its mask holds all that are attributed to.
        steps
            See `deeploc.core.attribution.Attributes`.

        Raises
        ------
        AdapterError
            If the network has no classes, or an example is no image.
        """
        sites = self._names.with_those_of(ablation.mask.layout)
        attribute = partial(attribute_batch, self.module, sites, ablation, steps=steps)
        with self._losses(examples) as (batches, loss):

            @torch.inference_mode(False)  # wherever it is called: its tensors are differentiated
            def run(indices: Indices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
                return attribute(loss(indices), n_stimuli=len(indices))

            for indices, (effects, gradients, losses) in each_batch(batches, run):
                ones = np.ones(len(indices), dtype=np.int64)
                yield Attributed(indices, effects, gradients, losses, ones)

    def weight_attributions(
        self, terms: Sequence[Term], layout: Layout, _: Readout
    ) -> WeightAttribution:
        """Return |weight x gradient| of an objective over images, by tensor and by unit.

        Parameters
        ----------
        terms
            The objective.
        layout
            The sites whose units are told apart.

        Raises
        ------
        AdapterError
            If the network has no classes, or an example is no image.
        """
        weights = torch.tensor([term.weight for term in terms], dtype=torch.float64)
        with self._losses([term.example for term in terms]) as (batches, loss):

            @torch.inference_mode(False)
            def part(indices: Indices) -> Tensor:
                losses = loss(indices)()
                return losses @ weights[torch.from_numpy(indices)].to(losses)

            parts = (partial(part, indices) for indices in batches)
            rows = rows_of(self.module, layout, self._probe()[0])
            return attribute_weights(self.module, layout, parts, rows)

    @contextmanager
    def _losses(
        self, examples: Sequence[Example]
    ) -> Iterator[tuple[list[Indices], Callable[[Indices], Loss]]]:
        """Give the batches, and what makes the pass of one and returns its losses."""
        if not self._has_classes:
            raise AdapterError(
                "the network has no classes, only features, and so no loss; load it with its "
                "classifier, or write `select.by: contrast`"
            )
        stimuli = [_stimulus(example) for example in examples]
        classes = [e.classes if isinstance(e, Labelled) else None for e in examples]
        batches = in_order(len(examples), max(self._batch // KEPT, 1))
        with threads() as decoding:
            prepared = PreparedImages(stimuli, self._preparation, batches, decoding)

            def loss(indices: Indices) -> Loss:
                images = self._input(prepared.take(indices))
                right = [classes[i] for i in indices.tolist()]
                return lambda: _cross_entropy(self.module, images, right)

            yield batches, loss


def _cross_entropy(
    module: nn.Module, images: Images, right: Sequence[tuple[int, ...] | None]
) -> Float[Tensor, " image"]:
    """Return -log of the summed probability of the right classes; None: the most probable one."""
    scores = scores_of(first_tensor(module(images)), module, len(images))
    wide = scores if scores.dtype == torch.float64 else scores.float()
    logprobs = wide.log_softmax(dim=1)
    own = logprobs.detach().argmax(dim=1).tolist()
    chosen = [classes or (own[row],) for row, classes in enumerate(right)]
    probable = [logprobs[row, list(c)].logsumexp(dim=0) for row, c in enumerate(chosen)]
    return -torch.stack(probable)


def _stimulus(example: Example) -> Stimulus:
    stimulus = example.stimulus if isinstance(example, Labelled) else example
    if isinstance(stimulus, Stimulus):
        return stimulus
    raise AdapterError(
        "this model reads images, and has no loss of texts; name a task that classifies images"
    )
