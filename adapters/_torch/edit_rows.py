"""Edit activations that only the tokens have that are routed to an expert."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.core.ablation import Ablation, Edit
from deeploc.core.units import Site

from .parameter_hook import ParameterHook, parameter_hook, rehearsal
from .passes import Passes
from .row_mode import RowFunction, Rows


def edit_rows_hook(
    edit: Edit, masked: Site, model: nn.Module, site: Site, passes: Passes
) -> ParameterHook:
    """Return a hook that edits the selected units of a site of experts, at the tokens they see.

    Parameters
    ----------
    edit
        The units and what happens to them.
    masked
        The site in the layout of the mask of ``edit``.
    model
        The module in which the path of the site starts.
    site
        The same site of ``model``.
    passes
        The forward passes of ``model``.
    """
    if isinstance(edit, Ablation):
        return parameter_hook(model, site, _Affine(edit, masked, passes))
    return parameter_hook(model, site, _Arrays(edit, masked, passes))


@dataclass(frozen=True)
class _Table:
    """A vector over the units of a site, by expert; copied once to every device."""

    vector: Tensor
    copies: dict[torch.device, Tensor] = field(default_factory=dict)

    def of(self, rows: Rows) -> Tensor:
        """Return the vector of the expert of every row, (row, unit)."""
        device = rows.values.device
        if device not in self.copies:
            self.copies[device] = self.vector.to(device)
        return self.copies[device].view(-1, rows.values.shape[1])[rows.experts]


class _Affine:
    """``gain * x + offset`` on the selected units, as in `AffineEdit`, on the device."""

    def __init__(self, edit: Ablation, masked: Site, passes: Passes) -> None:
        part = edit.mask.layout.slices[masked.name]
        self._gain = edit.gain
        self._selected = _Table(torch.from_numpy(edit.mask.at(masked.name)))
        self._offset = None if edit.offset is None else _Table(torch.from_numpy(edit.offset[part]))
        first = edit.first if edit.has_first else None
        self._first = None if first is None else _Table(torch.from_numpy(first[part]))
        self._passes = passes

    def __call__(self, given: Tensor) -> Iterator[RowFunction]:
        n_tokens = given.shape[:-1].numel()

        def edited(rows: Rows) -> Tensor:
            x = rows.values
            # half types are edited in float32, so that gain and offset round only once
            wide = x if x.dtype == torch.float64 else x.float()
            new = torch.zeros_like(wide) if self._gain == 0 else self._gain * wide  # 0 * inf is nan
            offset = self._offset_of(rows, n_tokens)
            new = new if offset is None else new + offset.to(wide.dtype)
            return torch.where(self._selected.of(rows), new.to(x.dtype), x)

        yield edited

    def _offset_of(self, rows: Rows, n_tokens: int) -> Tensor | None:
        offset = None if self._offset is None else self._offset.of(rows)
        if self._first is None or self._passes.start:
            return offset
        position = rows.tokens % (n_tokens // len(self._passes.current().stimuli))
        first = self._first.of(rows)
        later = torch.zeros_like(first) if offset is None else offset
        return torch.where((position == 0).unsqueeze(-1), first, later)


class _Arrays:
    """Any other edit: the module runs twice, first to read the units, then with the new values.

    An edit is given all selected units of a site at once, but the experts compute one by one.
    """

    def __init__(self, edit: Edit, masked: Site, passes: Passes) -> None:
        selected = edit.mask.at(masked.name)
        column = np.where(selected, np.cumsum(selected) - 1, -1)
        self._edit, self._name, self._passes = edit, masked.name, passes
        self._n_selected = int(selected.sum())
        self._column = _Table(torch.from_numpy(column))

    def __call__(self, given: Tensor) -> Iterator[RowFunction]:
        products: list[Rows] = []
        with rehearsal():
            yield products.append
        new = self._new(products, given)

        def edited(rows: Rows) -> Tensor:
            column = self._column.of(rows)
            values = new[rows.tokens].gather(1, column.clamp(min=0)).to(rows.values.dtype)
            return torch.where(column >= 0, values, rows.values)

        yield edited

    def _new(self, products: list[Rows], given: Tensor) -> Tensor:
        """Return the edited units (token, selected unit); those not routed to are 0 before."""
        n_tokens = given.shape[:-1].numel()
        now = self._passes.current()
        wide = torch.float64 if given.dtype == torch.float64 else torch.float32
        values = torch.zeros(n_tokens, self._n_selected, dtype=wide, device=given.device)
        for rows in products:
            column = self._column.of(rows)
            row, unit = (column >= 0).nonzero(as_tuple=True)
            values[rows.tokens[row], column[row, unit]] = rows.values[row, unit].to(wide)
        shaped = values.view(len(now.stimuli), -1, self._n_selected)
        new = np.array(self._edit.edited(self._name, shaped.detach().cpu().numpy(), now))
        return torch.from_numpy(new).to(given.device).reshape(n_tokens, self._n_selected)
