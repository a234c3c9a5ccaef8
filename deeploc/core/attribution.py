"""Attribution: how far each unit, and each weight, decides a loss, told by its gradient.

The *loss* of an example is what a model is trained to lower: of a text the negative
log-probability of its tokens (nats), of an image the cross entropy (nats) of a class. An
*objective* is a weighted sum of such losses. The attribution of a unit is the first-order
prediction of what ablating it alone adds to the objective: the sum over positions of (what the
ablation puts in place - the activation) x the gradient. For zero ablation that is
-activation x gradient, and it is exact where the loss is linear in the unit.

Source: Shrikumar et al. (2017), arXiv 1704.02685; attribution patching: Nanda (2023),
neelnanda.io/attribution-patching; Kramar et al. (2024), arXiv 2403.00745.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import TextRequest
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Vector
from deeploc.stimuli import Stimulus


@dataclass(frozen=True, slots=True)
class Labelled:
    """A stimulus and its true classes: its loss is -log of their summed probability.

    Parameters
    ----------
    stimulus
        What the model is shown.
    classes
        The numbers of the classes that are right.
    """

    stimulus: Stimulus
    classes: tuple[int, ...]


Example = Stimulus | TextRequest | Labelled
"""What has a loss. Of a `Stimulus` that is a text: of all its tokens; of one that is an image: the
cross entropy of the class that the intact model finds most probable. Of a `TextRequest`: of the
tokens of its completion."""


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of an objective: ``weight`` x the loss of ``example``.

    Parameters
    ----------
    example
        What has a loss.
    weight
        Its factor.
    per_token
        Whether the loss of a text is divided by the number of its tokens that are predicted.
    """

    example: Example
    weight: float
    per_token: bool = True


@dataclass(frozen=True)
class Attributed:
    """What some examples say of every unit.

    Parameters
    ----------
    indices
        The numbers of the examples.
    effects
        The predicted change of the loss of each example (nats) if the unit is ablated alone.
    gradients
        The mean over positions of the absolute gradient of the loss (nats per unit of activation).
    losses
        The loss of each example (nats); of a text the sum over its tokens.
    tokens
        How many predictions are summed in it: tokens of a text, 1 for an image.
    """

    indices: Int[np.ndarray, " example"]
    effects: Float[np.ndarray, "example unit"]
    gradients: Float[np.ndarray, "example unit"]
    losses: Float[np.ndarray, " example"]
    tokens: Int[np.ndarray, " example"]


@runtime_checkable
class Attributes(Protocol):
    """Ability of models with a loss: its gradient at every site, and at every weight."""

    def attributions(
        self,
        examples: Sequence[Example],
        ablation: Ablation,
        readout: Readout,
        steps: int | None = None,
    ) -> Iterator[Attributed]:
        """Yield what every example says of the units, once, in batches of any order and size.

        Parameters
        ----------
        examples
            What has a loss.
        ablation
            What would be done to the units; its mask holds all that are attributed to.
        readout
            Where texts are truncated; all else of it does not matter.
        steps
            None: the gradient at the intact activations. A number: the mean of the gradients at so
            many points (midpoints of equal steps) between the activations of one site and what
            replaces them, the sites after it following: the effects of a site then add up to what
            ablating all of it does to the loss, up to the error of the sum. It takes a pass per
            step and site. Source: integrated gradients, Sundararajan et al. (2017), arXiv
            1703.01365.

        Raises
        ------
        AdapterError
            If the model has no loss, or an example none.
        """
        ...

    def weight_attributions(
        self, terms: Sequence[Term], layout: Layout, readout: Readout
    ) -> "WeightAttribution":
        """Return |weight x gradient| of an objective, for every tensor of weights.

        Parameters
        ----------
        terms
            The objective.
        layout
            The sites whose units are told apart.
        readout
            Where texts are truncated.

        Raises
        ------
        AdapterError
            If the model has no loss, or an example none.
        """
        ...


@dataclass(frozen=True)
class WeightAttribution:
    """|weight x gradient| of an objective, summed (nats).

    Parameters
    ----------
    tensors
        Name of a tensor of weights -> how many weights it has, and their sum.
    rows
        The sum over the weights of each unit: the row (or column) of a matrix that computes it,
        or, for units that enter a projection, the one that reads it; nan where there is none.
    sources
        Name of a site -> name of the tensor that its rows are taken from.
    """

    tensors: Mapping[str, tuple[int, float]]
    rows: Vector
    sources: Mapping[str, str]


@runtime_checkable
class HasLoss(Protocol):
    """A task with a loss that has a gradient."""

    def loss(self) -> Sequence[Term]:
        """Return the mean loss of its items as an objective, once the task is prepared."""
        ...


def mean_terms(examples: Sequence[Example], *, per_token: bool = True) -> list[Term]:
    """Return the mean loss of examples as an objective.

    Parameters
    ----------
    examples
        What has a loss.
    per_token
        Whether the loss of a text is per token.
    """
    return [Term(example, 1 / len(examples), per_token) for example in examples]


def weights_of(terms: Sequence[Term], tokens: Sequence[int]) -> Float64[np.ndarray, " example"]:
    """Return the factor of the loss of each example in an objective.

    Parameters
    ----------
    terms
        The objective.
    tokens
        How many predictions are summed in each loss.
    """
    shares = [1 / n if term.per_token else 1.0 for term, n in zip(terms, tokens, strict=True)]
    return np.multiply([term.weight for term in terms], shares)
