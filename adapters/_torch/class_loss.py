"""The cross entropy of classes under a network that scores them, and its gradient."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.attribution import Attributed, Example, Labelled, Term
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .batching import Indices, each_batch
from .gradient import Loss
from .hooks import first_tensor
from .pool import Valid

Pass = tuple[Loss, Valid]
"""What makes a forward pass and returns its losses, and which positions belong to a stimulus."""


@runtime_checkable
class Attribute(Protocol):
    """`attribute_batch` of a network and an ablation."""

    def __call__(
        self, loss: Loss, *, n_stimuli: int, valid: Valid
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return effects, gradients and losses of a pass."""
        ...


def scores_of(output: Tensor | None, module: nn.Module, n_stimuli: int) -> Tensor:
    """Return the scores of the classes (stimulus, class).

    Parameters
    ----------
    output
        What the network returns.
    module
        The network.
    n_stimuli
        How many stimuli it was shown.

    Raises
    ------
    AdapterError
        If these are no scores of classes.
    """
    if output is None or output.ndim != 2:
        shape = None if output is None else tuple(output.shape)
        raise AdapterError(
            f"{type(module).__name__} returns {shape} for {n_stimuli} stimuli, not scores of "
            "classes; leave out the tasks that need them"
        )
    return output


def right_classes(examples: Sequence[Example]) -> list[tuple[int, ...] | None]:
    """Return the right classes of each example; None: it has no label."""
    return [example.classes if isinstance(example, Labelled) else None for example in examples]


def shown_by(example: Example) -> Stimulus | None:
    """Return the stimulus that an example shows; None: it is a prompt with a completion."""
    shown = example.stimulus if isinstance(example, Labelled) else example
    return shown if isinstance(shown, Stimulus) else None


def cross_entropy(
    output: object, module: nn.Module, right: Sequence[tuple[int, ...] | None]
) -> Float[Tensor, " stimulus"]:
    """Return -log of the summed probability of the right classes (nats).

    Parameters
    ----------
    output
        What the network returns.
    module
        The network.
    right
        The right classes of every stimulus; None: the one that is most probable.

    Raises
    ------
    AdapterError
        If the output holds no scores of classes.
    """
    scores = scores_of(first_tensor(output), module, len(right))
    wide = scores if scores.dtype == torch.float64 else scores.float()
    logprobs = wide.log_softmax(dim=1)
    own = logprobs.detach().argmax(dim=1).tolist()
    chosen = [classes or (own[row],) for row, classes in enumerate(right)]
    probable = [logprobs[row, list(c)].logsumexp(dim=0) for row, c in enumerate(chosen)]
    return -torch.stack(probable)


def each_attributed(
    batches: Sequence[Indices], make: Callable[[Indices], Pass], attribute: Attribute
) -> Iterator[Attributed]:
    """Yield what the loss of every stimulus says of the units, batch by batch.

    Parameters
    ----------
    batches
        The numbers of the stimuli in each pass.
    make
        Prepares the pass of a batch.
    attribute
        Takes its gradient.
    """

    @torch.inference_mode(False)  # wherever it is called: its tensors are differentiated
    def run(indices: Indices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        loss, valid = make(indices)
        return attribute(loss, n_stimuli=len(indices), valid=valid)

    for indices, (effects, gradients, losses) in each_batch(batches, run):
        ones = np.ones(len(indices), dtype=np.int64)
        yield Attributed(indices, effects, gradients, losses, ones)


def weighted_losses(
    batches: Sequence[Indices], make: Callable[[Indices], Pass], terms: Sequence[Term]
) -> Iterator[Callable[[], Float[Tensor, ""]]]:
    """Yield what makes the pass of a batch and returns its part of an objective.

    Parameters
    ----------
    batches, make
        As of `each_attributed`.
    terms
        The objective.
    """
    weights = torch.tensor([term.weight for term in terms], dtype=torch.float64)

    @torch.inference_mode(False)
    def part(indices: Indices) -> Tensor:
        losses = make(indices)[0]()
        return losses @ weights[torch.from_numpy(indices)].to(losses)

    for indices in batches:
        yield partial(part, indices)
