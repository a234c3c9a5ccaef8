"""The cross entropy of images under a classifier, and its gradient."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.rows import rows_of
from deeploc.adapters._torch.batching import Indices, in_order
from deeploc.adapters._torch.class_loss import (
    Pass,
    cross_entropy,
    each_attributed,
    right_classes,
    shown_by,
    weighted_losses,
)
from deeploc.adapters._torch.gradient import KEPT, attribute_batch
from deeploc.adapters._torch.weights import attribute_weights
from deeploc.core.ablation import Ablation
from deeploc.core.attribution import Attributed, Example, Term, WeightAttribution
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.threads import threads

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
        with self._losses(examples) as (batches, make):
            yield from each_attributed(batches, make, attribute)

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
        with self._losses([term.example for term in terms]) as (batches, make):
            parts = weighted_losses(batches, make, terms)
            rows = rows_of(self.module, layout, self._probe()[0])
            return attribute_weights(self.module, layout, parts, rows)

    @contextmanager
    def _losses(
        self, examples: Sequence[Example]
    ) -> Iterator[tuple[list[Indices], Callable[[Indices], Pass]]]:
        """Give the batches, and what prepares the pass of one."""
        if not self._has_classes:
            raise AdapterError(
                "the network has no classes, only features, and so no loss; load it with its "
                "classifier, or write `select.by: contrast`"
            )
        stimuli, right = [_image(example) for example in examples], right_classes(examples)
        batches = in_order(len(examples), max(self._batch // KEPT, 1))
        with threads() as decoding:
            prepared = PreparedImages(stimuli, self._preparation, batches, decoding)

            def make(indices: Indices) -> Pass:
                images = self._input(prepared.take(indices))
                own = [right[i] for i in indices.tolist()]
                return (lambda: cross_entropy(self.module(images), self.module, own)), None

            yield batches, make


def _image(example: Example) -> Stimulus:
    stimulus = shown_by(example)
    if stimulus is not None:
        return stimulus
    raise AdapterError(
        "this model reads images, and has no loss of texts; name a task that classifies images"
    )
