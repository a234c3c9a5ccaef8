"""Gradients of a loss at activations that only the tokens have that are routed to an expert."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from deeploc.core.units import Site

from .parameter_hook import ParameterHook
from .pool import Valid
from .routed import Routed
from .row_mode import RowFunction, Rows


def traced(x: Tensor, change: Tensor, share: float) -> Tensor:
    """Return a tensor whose gradient is told by its hooks, equal to ``x`` or moved.

    Parameters
    ----------
    x
        Activations; the model may change them in place after this.
    change
        What an ablation would add to them.
    share
        How much of it is added (0-1); where it is not 0, what ``x`` was made from has no gradient.
    """
    if share:
        return (x.detach() + share * change).requires_grad_()
    return x.clone() if x.requires_grad else x.detach().clone().requires_grad_()


class TracedRows:
    """One site of experts: what its units would be replaced by, times the gradient that passes.

    Units of experts that a token is not routed to have no activation there: they count 0.

    Parameters
    ----------
    edit
        What would be done to the units.
    site
        The site.
    n_stimuli
        Number of stimuli in the pass.
    valid
        Which positions belong to a stimulus (stimulus, position); ``None``: all.
    """

    def __init__(self, edit: ParameterHook, site: Site, n_stimuli: int, valid: Valid) -> None:
        self._edit = edit
        self._site = site
        self._n = n_stimuli
        self._valid = valid
        self.name = site.name
        self.call = site.call
        self.called = 0
        self.effects = torch.zeros(n_stimuli, site.n_units)
        self.gradients = torch.zeros(n_stimuli, site.n_units)

    def hook(self, share: float = 0.0, weight: float = 1.0) -> ParameterHook:
        """Return the hook that traces a pass.

        Parameters
        ----------
        share
            How far the activations are moved to what replaces them (0-1).
        weight
            Factor of the gradients of this pass.
        """
        self.called = 0
        return replace(self._edit, visits=partial(self._visits, share, weight))

    def _visits(self, share: float, weight: float, given: Tensor) -> Iterator[RowFunction]:
        self.called += 1
        n_positions = Routed.of(self._site, [], given, self._n).shape[1]
        for edited in self._edit.visits(given):
            yield partial(self._trace, edited, n_positions, share, weight)

    def _trace(
        self, edited: RowFunction, n_positions: int, share: float, weight: float, rows: Rows
    ) -> Tensor:
        shown = replace(rows, values=rows.values.detach())
        new = edited(shown)
        change = torch.zeros_like(shown.values) if new is None else new - shown.values
        at = traced(rows.values, change, share)
        add = partial(self._add, rows.tokens, rows.experts, n_positions, change, weight)
        at.register_hook(add)  # type: ignore[no-untyped-call]
        return at.clone()

    def _add(
        self,
        tokens: Tensor,
        experts: Tensor,
        n_positions: int,
        change: Float[Tensor, "row unit"],
        weight: float,
        gradient: Float[Tensor, "row unit"],
    ) -> None:
        wide = gradient if gradient.dtype == torch.float64 else gradient.float()
        counts = torch.full((self._n, 1), n_positions, device=wide.device)
        if self._valid is not None and self._valid.shape[1] == n_positions:
            valid = self._valid.to(wide.device)
            wide = torch.where(valid.flatten()[tokens].unsqueeze(-1), wide, 0.0)
            counts = valid.sum(dim=1, keepdim=True)
        cells = tokens // n_positions, experts
        self.effects = self._summed(self.effects, cells, weight * change.to(wide) * wide)
        stimuli_counts = counts[cells[0]].to(wide)
        self.gradients = self._summed(self.gradients, cells, weight * wide.abs() / stimuli_counts)

    def _summed(self, totals: Tensor, cells: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
        """Return totals (stimulus, unit) with the values of rows added at (stimulus, expert)."""
        by_expert = totals.to(values).view(self._n, -1, values.shape[1])
        return by_expert.index_put(cells, values, accumulate=True).view(self._n, -1)
