"""How far each unit decides an objective, summed over the examples of all batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter
from deeploc.core.attribution import Attributes, HasLoss, Term, weights_of
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Vector
from deeploc.errors import AdapterError, TaskError
from deeploc.progress import OnProgress, ignore_progress


@dataclass(frozen=True)
class Attribution:
    """How far each unit decides an objective; vectors are float64 ``(unit,)``.

    Parameters
    ----------
    attribution
        The predicted change of the objective (nats) if the unit is ablated alone.
    gradient
        The mean absolute gradient of the objective: over the positions of each example, weighted
        with the absolute weights of the terms.
    value
        The objective itself (nats).
    """

    attribution: Vector
    gradient: Vector
    value: float

    def by_unit(self, layout: Layout) -> "Attribution":
        """Return the same of the units of ``layout``, of which each may be several scalars.

        Parameters
        ----------
        layout
            The sites, with the width of their units.
        """
        if self.attribution.size == layout.n_units:
            return self
        sites = layout.sites
        widths = np.repeat([site.width for site in sites], [site.n_units for site in sites])
        starts = np.cumsum(widths) - widths
        attribution, gradient = (
            np.add.reduceat(vector, starts) for vector in (self.attribution, self.gradient)
        )
        return Attribution(attribution, gradient, self.value)


def attribute(
    adapter: Adapter,
    terms: Sequence[Term],
    ablation: Ablation,
    readout: Readout,
    *,
    steps: int | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Attribution:
    """Return how far each unit decides an objective.

    Parameters
    ----------
    adapter
        The intact model.
    terms
        The objective.
    ablation
        What would be done to the units; its mask holds all that are attributed to.
    readout
        Where texts are truncated.
    steps
        See `Attributes.attributions`.
    on_progress
        Called with the number of examples of each batch.

    Raises
    ------
    AdapterError
        If the model has no loss.
    """
    model = with_loss(adapter)
    attribution, gradient = np.zeros((2, ablation.mask.layout.n_units))
    value = 0.0
    examples = [term.example for term in terms]
    for batch in model.attributions(examples, ablation, readout, steps):
        weights = weights_of([terms[i] for i in batch.indices], batch.tokens.tolist())
        attribution += weights @ batch.effects.astype(np.float64)
        gradient += np.abs(weights) @ batch.gradients.astype(np.float64)
        value += float(weights @ batch.losses)
        on_progress(len(batch.indices))
    return Attribution(attribution, gradient, value)


def with_loss(adapter: Adapter) -> Attributes:
    """Return the adapter, known to have a loss.

    Parameters
    ----------
    adapter
        The model.

    Raises
    ------
    AdapterError
        If it has none.
    """
    if not isinstance(adapter, Attributes):
        raise AdapterError(
            f"{adapter.identity.get('model', 'this model')} has no loss whose gradient can be "
            "taken (its adapter lacks the ability Attributes); write `select.by: contrast`"
        )
    return adapter


def require_loss(task: object, name: str) -> HasLoss:
    """Return the task, known to have a loss.

    Parameters
    ----------
    task
        The task.
    name
        Its name, for messages.

    Raises
    ------
    TaskError
        If it has no loss.
    """
    if not isinstance(task, HasLoss):
        raise TaskError(
            f"task {name!r} has no loss whose gradient can be taken; name another, or the "
            "contrast itself (`of: contrast`)"
        )
    return task
