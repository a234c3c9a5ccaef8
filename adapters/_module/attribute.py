"""The cross entropy of classes under any module that scores them, and its gradient."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from torch import Tensor, nn

from deeploc.adapters._sites.named import NamesModules
from deeploc.adapters._sites.rows import rows_of
from deeploc.adapters._torch.batching import Indices
from deeploc.adapters._torch.class_loss import (
    Pass,
    cross_entropy,
    each_attributed,
    right_classes,
    shown_by,
    weighted_losses,
)
from deeploc.adapters._torch.gradient import KEPT, attribute_batch
from deeploc.adapters._torch.hooks import first_tensor
from deeploc.adapters._torch.pool import Valid
from deeploc.adapters._torch.weights import attribute_weights
from deeploc.core.ablation import Ablation
from deeploc.core.attribution import Attributed, Example, Term, WeightAttribution
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus


class AttributesModules(NamesModules):
    """The ability `Attributes` of an adapter around a module whose output are scores of classes."""

    module: nn.Module
    _name: str
    _classes: Sequence[str]

    @cached_property
    @abstractmethod
    def _batch_size(self) -> int:
        """Largest number of stimuli in a pass."""

    @abstractmethod
    def _batches(
        self, stimuli: Sequence[Stimulus], layout: Layout | None, size: int
    ) -> list[Indices]: ...

    @abstractmethod
    def _batch(self, stimuli: Sequence[Stimulus], indices: Indices) -> tuple[Any, Valid]: ...

    @abstractmethod
    def _forward(self, inputs: Any) -> Any: ...

    @abstractmethod
    def _probe(self) -> tuple[Callable[[], Any], int | None]: ...

    def attributions(
        self,
        examples: Sequence[Example],
        ablation: Ablation,
        _: Readout,
        steps: int | None = None,
    ) -> Iterator[Attributed]:
        """Yield what the loss of every stimulus says of the units.

        Parameters
        ----------
        examples
            Contents that ``preprocess`` takes; the loss of one without labels is the cross entropy
            of the class that the intact module finds most probable.
        ablation
            What would be done to the units; its mask holds all that are attributed to.
        steps
            See `deeploc.core.attribution.Attributes`.

        Raises
        ------
        AdapterError
            If the module was given no classes, or its output are no scores of them.
        """
        sites = self._names.with_those_of(ablation.mask.layout)
        attribute = partial(attribute_batch, self.module, sites, ablation, steps=steps)
        yield from each_attributed(*self._losses(examples), attribute)

    def weight_attributions(
        self, terms: Sequence[Term], layout: Layout, _: Readout
    ) -> WeightAttribution:
        """Return |weight x gradient| of an objective over stimuli, by tensor and by unit.

        Parameters
        ----------
        terms
            The objective.
        layout
            The sites whose units are told apart.

        Raises
        ------
        AdapterError
            If the module was given no classes, or its output are no scores of them.
        """
        parts = weighted_losses(*self._losses([term.example for term in terms]), terms)
        rows = rows_of(self.module, layout, self._probe()[0])
        return attribute_weights(self.module, layout, parts, rows)

    def _losses(
        self, examples: Sequence[Example]
    ) -> tuple[list[Indices], Callable[[Indices], Pass]]:
        """Return the batches, and what prepares the pass of one."""
        if not self._classes:
            raise AdapterError(
                f"it is not known whether {self._name} returns scores of classes, and so a loss; "
                "give wrap the names of its classes (`classes=`), or write `select.by: contrast`"
            )
        stimuli, right = [self._shown(example) for example in examples], right_classes(examples)

        def make(indices: Indices) -> Pass:
            inputs, valid = self._batch(stimuli, indices)
            own = [right[i] for i in indices.tolist()]
            return (lambda: cross_entropy(self._scores(inputs), self.module, own)), valid

        return self._batches(stimuli, None, max(self._batch_size // KEPT, 1)), make

    def _scores(self, inputs: Any) -> Tensor | None:
        scores = first_tensor(self._forward(inputs))
        if scores is not None and scores.ndim == 2 and scores.shape[1] != len(self._classes):
            raise AdapterError(
                f"{self._name} returns {scores.shape[1]} scores for each stimulus, but wrap was "
                f"given the names of {len(self._classes)} classes; name every class"
            )
        return scores

    def _shown(self, example: Example) -> Stimulus:
        stimulus = shown_by(example)
        if stimulus is not None:
            return stimulus
        raise AdapterError(
            f"{self._name} classifies stimuli, and has no loss of completions; name a task that "
            "classifies, or the contrast itself (`of: contrast`)"
        )
