"""Apply an ablation to a torch model by hooks."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from deeploc.ablation import Ablation
from deeploc.errors import MaskError
from deeploc.units import Layout, Vector

from ._hooks import Tapped


def edits(ablation: Ablation, model: nn.Module, sites: Layout) -> list[Tapped]:
    """Return one visit for every site of ``model`` that has a selected unit.

    Raises
    ------
    MaskError
        If the mask was made for sites that ``sites`` does not have.
    """
    mask = ablation.mask
    check_fits(mask.layout, sites)
    taps = []
    for site in mask.layout.sites:
        (units,) = np.nonzero(mask.at(site.name))
        if units.size:
            here = mask.layout.slices[site.name]
            offset = None if ablation.offset is None else ablation.offset[here][units]
            visit = Edit(units, ablation.gain, offset).apply
            taps.append(Tapped(model.get_submodule(site.path), site.tap, visit))
    return taps


def check_fits(wanted: Layout, sites: Layout) -> None:
    """Refuse a mask whose sites the model lacks, or has in another width.

    Raises
    ------
    MaskError
        Naming the sites on both sides.
    """
    present = {site.name: site.n_units for site in sites.sites}
    if any(present.get(site.name) != site.n_units for site in wanted.sites):
        kinds = {site.kind for site in wanted.sites}
        alike = Layout(tuple(site for site in sites.sites if site.kind in kinds))
        raise MaskError(
            f"mask was made for sites {_told(wanted)} but this model has "
            f"{_told(alike if alike.sites else sites)}; re-run `deeploc localize` on this model"
        )


class Edit:
    """``gain * x + offset`` on some units of a site, at every position.

    What it needs on the device is put there once per device and dtype, not once per forward
    pass: generating text makes one pass per token.
    """

    def __init__(
        self, units: Int[np.ndarray, " selected"], gain: float, offset: Vector | None
    ) -> None:
        self._units = torch.from_numpy(units)
        self._gain = gain
        self._offset = torch.zeros(1) if offset is None else torch.from_numpy(offset)
        self._shifts = offset is not None
        self._there: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def apply(self, x: Tensor) -> Tensor:
        """Return a copy of ``x`` (..., unit) in which only the selected units differ."""
        units, offset = self._at(x)
        edited = x.clone()
        edited[..., units] = self._edited(x, units, offset)
        return edited

    def _edited(self, x: Tensor, units: Tensor, offset: Tensor) -> Tensor:
        if self._gain == 0:  # not multiplied out: 0 * inf would leave nan where silence is asked
            return offset.to(x.dtype)
        scaled = self._gain * x[..., units].to(offset.dtype)
        return (scaled + offset if self._shifts else scaled).to(x.dtype)

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        key = (x.device, x.dtype)
        if key not in self._there:
            # half types are edited in float32, so that gain and offset round only once
            wide = x.dtype if x.dtype == torch.float64 else torch.float32
            self._there[key] = (self._units.to(x.device), self._offset.to(x.device, wide))
        return self._there[key]


def _told(layout: Layout) -> str:
    sites = [f"{site.name} ({site.n_units})" for site in layout.sites]
    shown = sites if len(sites) <= 4 else [*sites[:2], "…", sites[-1]]
    return f"[{', '.join(shown)}]"
