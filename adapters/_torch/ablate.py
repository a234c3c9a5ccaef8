"""Edit the activations of a torch model by hooks."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.core.ablation import Ablation, Edit, Units
from deeploc.core.scalar_edits import edit_of_scalars
from deeploc.core.units import Layout, Site, Vector
from deeploc.errors import MaskError

from .edit_rows import edit_rows_hook
from .every_pass import hook_every_pass
from .hooks import SiteHook
from .passes import Passes
from .shape import as_sequences, from_sequences, stimuli_in


def ablated(
    edit: Edit, model: nn.Module, sites: Layout, entry: nn.Module
) -> AbstractContextManager[None]:
    """Return a context in which an edit is applied to every forward pass.

    Parameters
    ----------
    edit
        The units and what happens to them.
    model
        The module in which the paths of the sites start.
    sites
        All sites of ``model``.
    entry
        The module that every pass enters by, ``model`` itself or its trunk.

    Raises
    ------
    MaskError
        If the mask was made for other sites.
    AdapterError
        When a forward pass or the context ends, if a site was not ablated in a pass.
    """
    passes = Passes()
    hooked = hook_every_pass(model, edit_hooks(edit, model, sites, passes))
    if isinstance(edit, Ablation) and not edit.has_first:  # the same in every pass
        return hooked
    return _both(passes.of(entry), hooked)


@contextmanager
def _both(
    first: AbstractContextManager[object], second: AbstractContextManager[None]
) -> Iterator[None]:
    with first, second:
        yield


def edit_hooks(edit: Edit, model: nn.Module, sites: Layout, passes: Passes) -> list[SiteHook]:
    """Return one hook for every site of ``model`` that has a selected unit.

    Parameters
    ----------
    edit
        The units and what happens to them.
    model
        The module in which the paths of the sites start.
    sites
        All sites of ``model``.
    passes
        The forward passes of ``model``.

    Raises
    ------
    MaskError
        If the mask was made for sites that ``sites`` does not have.
    """
    edit, sites = edit_of_scalars(edit), sites.scalars()
    mask = edit.mask
    check_fits(mask.layout, sites)
    by_name = {site.name: site for site in sites.sites}
    hooks: list[SiteHook] = []
    for masked in mask.layout.sites:
        (units,) = np.nonzero(mask.at(masked.name))
        if units.size:
            site = by_name[masked.name]
            if site.within:
                hooks.append(edit_rows_hook(edit, masked, model, site, passes))
                continue
            function = partial(
                _edited, _site_edit(edit, masked, units), passes, site, masked.n_units
            )
            hooks.append(SiteHook.at(site, model, function))
    return hooks


def _site_edit(edit: Edit, masked: Site, units: Units) -> "SiteEdit":
    if not isinstance(edit, Ablation):
        return ArrayEdit(edit, masked.name, units)
    columns = edit.mask.layout.slices[masked.name]
    offset = None if edit.offset is None else edit.offset[columns][units]
    first = edit.first[columns][units] if edit.first is not None and edit.has_first else None
    return AffineEdit(units, edit.gain, offset, first)


def _edited(edit: "SiteEdit", passes: Passes, site: Site, n_masked: int, x: Tensor) -> Tensor:
    """Return ``x`` with the masked units edited: at every position, or each at its own."""
    sequences = as_sequences(site, x, stimuli_in(site, x, passes.n_stimuli))
    own = sequences if n_masked == site.n_units else sequences.reshape(-1, 1, n_masked)
    return from_sequences(site, edit.apply(own, passes).view(sequences.shape), x)


def check_fits(wanted: Layout, sites: Layout) -> None:
    """Refuse a mask with sites that the model lacks, or has with another number of units.

    Parameters
    ----------
    wanted
        The sites of the mask.
    sites
        All sites of the model.

    Raises
    ------
    MaskError
        Naming the sites of both.
    """
    widths = {site.name: _mask_widths(site) for site in sites.sites}
    if any(site.n_units not in widths.get(site.name, ()) for site in wanted.sites):
        kinds = {site.kind for site in wanted.sites}
        same_kind = Layout(tuple(site for site in sites.sites if site.kind in kinds))
        present = same_kind if same_kind.sites else sites
        raise MaskError(
            f"mask was made for sites {_site_list(wanted)} but this model has "
            f"{_site_list(present)}; re-run `deeploc localize` on this model"
        )


def _mask_widths(site: Site) -> tuple[int, ...]:
    """Return how many units a mask may have at ``site``: one each, or one per position."""
    per_position = (site.n_units * site.n_positions,) if site.n_positions else ()
    return (site.n_units, *per_position)


class SiteEdit(Protocol):
    """What happens to the selected units of one site."""

    def apply(self, x: Tensor, passes: Passes) -> Tensor:
        """Return a copy of ``x`` (stimulus, position, unit) in which only these units differ."""
        ...


class AffineEdit:
    """``gain * x + offset`` on some units of a site, on the device.

    Indices and offsets are copied to the device once per device and dtype, not once per forward
    pass: generating text makes one pass per token.

    Parameters
    ----------
    units
        Indices of the units within the site.
    gain
        Factor; 0 replaces the units by ``offset``.
    offset
        One value per unit, in the units of the activations; ``None`` is 0.
    first
        The offset at the first position of a stimulus; ``None``: as everywhere.
    """

    def __init__(
        self, units: Units, gain: float, offset: Vector | None, first: Vector | None = None
    ) -> None:
        self._units = torch.from_numpy(units)
        self._gain = gain
        self._offset = torch.zeros(1) if offset is None else torch.from_numpy(offset)
        self._first = self._offset if first is None else torch.from_numpy(first)
        self._has_offset = offset is not None or first is not None
        self._has_first = first is not None
        self._on_device: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}

    def apply(self, x: Tensor, passes: Passes) -> Tensor:
        """Return a copy of ``x`` in which only the selected units differ."""
        units, offset, first = self._at(x)
        edited = x.clone()
        edited[..., units] = self._edited(x, units, offset)
        if self._has_first and passes.start == 0:
            edited[:, 0, units] = self._edited(x[:, 0], units, first)
        return edited

    def _edited(self, x: Tensor, units: Tensor, offset: Tensor) -> Tensor:
        if self._gain == 0:  # without multiplying: 0 * inf is nan
            return offset.to(x.dtype)
        scaled = self._gain * x[..., units].to(offset.dtype)
        return (scaled + offset if self._has_offset else scaled).to(x.dtype)

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key = (x.device, x.dtype)
        if key not in self._on_device:
            # half types are edited in float32, so that gain and offset round only once
            wide = x.dtype if x.dtype == torch.float64 else torch.float32
            offsets = (self._offset.to(x.device, wide), self._first.to(x.device, wide))
            self._on_device[key] = (self._units.to(x.device), *offsets)
        return self._on_device[key]


class ArrayEdit:
    """Any other edit: its units leave the device as an array and return edited.

    Parameters
    ----------
    edit
        The edit.
    site
        The name of the site.
    units
        Indices of the units within the site.
    """

    def __init__(self, edit: Edit, site: str, units: Units) -> None:
        self._edit = edit
        self._site = site
        self._units = torch.from_numpy(units)

    def apply(self, x: Tensor, passes: Passes) -> Tensor:
        """Return a copy of ``x`` (stimulus, position, unit) in which only these units differ."""
        units = self._units.to(x.device)
        selected = x[..., units]
        wide = selected if selected.dtype == torch.float64 else selected.float()
        new = self._edit.edited(self._site, wide.detach().cpu().numpy(), passes.current())
        edited = x.clone()
        edited[..., units] = torch.from_numpy(np.array(new)).to(x.device, x.dtype)
        return edited


def _site_list(layout: Layout) -> str:
    sites = [f"{site.name} ({site.n_units})" for site in layout.sites]
    listed = sites if len(sites) <= 4 else [*sites[:2], "…", sites[-1]]
    return f"[{', '.join(listed)}]"
