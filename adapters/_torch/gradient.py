"""Gradients of a loss at the sites of a model, where its hooks read and edit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.core.ablation import Ablation
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError

from .ablate import edit_hooks
from .gradient_rows import TracedRows, traced
from .hooks import SiteHook, hook_sites, not_run
from .parameter_hook import ParameterHook
from .passes import Passes
from .pool import Valid
from .read import eval_mode
from .shape import as_sequences

Losses = Float[Tensor, " stimulus"]
Loss = Callable[[], Losses]
"""Makes one forward pass and returns the loss of every stimulus in it."""

KEPT = 4
"""A pass whose gradient is taken keeps all its activations: it gets so many times fewer stimuli."""


def attribute_batch(
    model: nn.Module,
    sites: Layout,
    ablation: Ablation,
    loss: Loss,
    *,
    n_stimuli: int,
    valid: Valid = None,
    steps: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return effects and gradients ``(stimulus, unit)``, and losses ``(stimulus,)``.

    The gradient is taken at the tensor that the ablation would replace, and reduced to one number
    per unit and stimulus while it passes, so that none is kept. The calls of a module that is
    called several times in a pass add up.

    Parameters
    ----------
    model
        The module in which the paths of the sites start.
    sites
        All sites of ``model``.
    ablation
        What would be done to the units; its mask holds all that are attributed to.
    loss
        Makes one forward pass.
    n_stimuli
        Number of stimuli in the pass.
    valid
        Which positions belong to a stimulus (stimulus, position); ``None``: all.
    steps
        See `deeploc.core.attribution.Attributes`.

    Raises
    ------
    MaskError
        If the mask was made for another model.
    AdapterError
        If a site did not run, or no gradient reaches any.
    """
    own = {site.name: site for site in sites.sites}
    passes = Passes()
    hooks = edit_hooks(ablation, model, sites, passes)
    places = [
        _place(hook, own[site.name], site, n_stimuli, valid)
        for hook, site in zip(hooks, ablation.mask.layout.sites, strict=True)
    ]
    with differentiable(model), passes.of(model):
        if steps is None:
            losses = _backward(loss, places, [place.hook() for place in places])
        else:
            losses = loss()
            for place in places:
                for step in range(steps):
                    hook = place.hook(share=(step + 0.5) / steps, weight=1 / steps)
                    _backward(loss, [place], [hook])
    effects = _joined([place.effects for place in places])
    gradients = _joined([place.gradients for place in places])
    return effects, gradients, losses.detach().cpu().double().numpy()


@contextmanager
def differentiable(model: nn.Module, *, weights: bool = False) -> Iterator[None]:
    """Let gradients pass through ``model``, in evaluation mode, inside the context.

    Tensors that were made in inference mode cannot take part in a gradient; for the while they are
    replaced by copies.

    Parameters
    ----------
    model
        The model.
    weights
        Whether its weights have a gradient, too; else none is formed for them.
    """
    with torch.inference_mode(False), torch.enable_grad(), eval_mode(model):
        replaced = list(_replace_inference_tensors(model))
        floating = [weight for weight in model.parameters() if weight.is_floating_point()]
        changed = [weight for weight in floating if weight.requires_grad != weights]
        for weight in changed:
            weight.requires_grad_(weights)
        try:
            yield
        finally:
            for weight in changed:
                weight.requires_grad_(not weights)
            for tensors, name, tensor in replaced:
                tensors[name] = tensor


def _place(
    edit: SiteHook, site: Site, counted: Site, n_stimuli: int, valid: Valid
) -> "_Traced | TracedRows":
    """Return what traces one site: where a tensor is replaced as a whole, or rows are."""
    if isinstance(edit, ParameterHook):
        return TracedRows(edit, site, n_stimuli, valid)
    return _Traced(edit, site, counted, n_stimuli, valid)


class _Traced:
    """One site: what its units would be replaced by, times the gradient that passes."""

    def __init__(
        self, edit: SiteHook, site: Site, counted: Site, n_stimuli: int, valid: Valid
    ) -> None:
        self._edit = edit
        self._site = site
        self._counted = counted
        self._n = n_stimuli
        self._valid = valid
        self.called = 0
        self.effects = torch.zeros(n_stimuli, counted.n_units)
        self.gradients = torch.zeros(n_stimuli, counted.n_units)

    def hook(self, share: float = 0.0, weight: float = 1.0) -> SiteHook:
        """Return the hook that traces a pass.

        Parameters
        ----------
        share
            How far the activations are moved to what replaces them (0-1).
        weight
            Factor of the gradients of this pass.
        """
        self.called = 0
        return replace(self._edit, function=partial(self._trace, share, weight))

    def _trace(self, share: float, weight: float, x: Tensor) -> Tensor | None:
        self.called += 1
        if self._site.call not in (0, self.called):
            return None
        shown = x.detach()
        edited = self._edit.function(shown)
        change = torch.zeros_like(shown) if edited is None else edited - shown
        at = traced(x, change, share)
        at.register_hook(partial(self._add, change, weight))  # type: ignore[no-untyped-call]
        return at.clone()

    def _add(self, change: Tensor, weight: float, gradient: Tensor) -> None:
        at_positions = as_sequences(self._site, gradient.detach(), self._n)
        wide = at_positions if at_positions.dtype == torch.float64 else at_positions.float()
        changes = as_sequences(self._site, change, self._n)
        products = changes.to(wide.dtype) * wide
        self.effects = self.effects.to(wide) + weight * self._summed(products)
        per_position = self._counted.n_units == wide[0].numel() and wide.shape[1] > 1
        n = 1 if per_position else self._positions(wide)
        self.gradients = self.gradients.to(wide) + weight * self._summed(wide.abs()) / n

    def _summed(self, values: Float[Tensor, "stimulus position scalar"]) -> Tensor:
        """Return (stimulus, unit): sums over the positions and scalars that make a unit."""
        valid = self._valid
        if valid is not None and valid.shape[1] == values.shape[1]:
            values = torch.where(valid.to(values.device).unsqueeze(-1), values, 0.0)
        if self._counted.n_units == values[0].numel():  # each at its own position
            return values.flatten(1)
        totals = values.sum(dim=1)
        return totals.reshape(self._n, self._counted.n_units, -1).sum(dim=-1)

    def _positions(self, values: Tensor) -> Tensor | int:
        """Return how many positions of each stimulus are its own."""
        if self._valid is None or self._valid.shape[1] != values.shape[1]:
            return values.shape[1]
        return self._valid.sum(dim=1, keepdim=True).to(values)

    @property
    def name(self) -> str:
        """The name of the site."""
        return self._site.name

    @property
    def call(self) -> int:
        """Which call of its module is meant; 0: every one."""
        return self._site.call


def _backward(
    loss: Loss, places: Sequence[_Traced | TracedRows], hooks: Sequence[SiteHook]
) -> Losses:
    """Make one pass and send the gradient of its summed loss back; return the losses."""
    with hook_sites(hooks):
        losses = loss()
    for place in places:
        if place.called < max(place.call, 1):
            raise not_run(place.name)
    if not losses.requires_grad:
        raise AdapterError(
            f"the loss has no gradient at site {places[0].name}: the model takes its result out "
            "of the computation that is differentiated; write `select.by: contrast`"
        )
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    wide = max((part.dtype for part in parts), key=lambda dtype: dtype.itemsize)
    return np.asarray(torch.cat([part.to("cpu", wide) for part in parts], dim=1).numpy())


def _replace_inference_tensors(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """Put copies in the place of tensors of inference mode; yield where, and what was there."""
    copies: dict[int, Tensor] = {}  # weights may be shared
    for module in model.modules():
        held: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for tensors in held:
            for name, tensor in list(tensors.items()):
                if tensor is None or not tensor.is_inference():
                    continue
                if id(tensor) not in copies:
                    copy = tensor.clone()
                    is_weight = isinstance(tensor, nn.Parameter)
                    copies[id(tensor)] = (
                        nn.Parameter(copy, requires_grad=False) if is_weight else copy
                    )
                tensors[name] = copies[id(tensor)]
                yield tensors, name, tensor
