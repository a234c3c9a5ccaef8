"""Edits of units of several scalars, as edits of every scalar."""

from deeploc.core.ablation import Ablation, Edit
from deeploc.core.scalars import mask_of_scalars, vector_of_scalars
from deeploc.core.units import UnitMask, Vector
from deeploc.errors import MaskError


def edit_of_scalars(edit: Edit) -> Edit:
    """Return an edit whose units are scalars, so that it can be applied to a tensor.

    A gain applies to every scalar of a head. An offset is one number per unit, and says nothing of
    the direction of a head's vector.

    Parameters
    ----------
    edit
        Any edit; one of units of one scalar each is returned as it is.

    Raises
    ------
    MaskError
        If it is not an `Ablation`, or has an offset at a unit of several scalars.
    """
    mask = mask_of_scalars(edit.mask)
    if mask is edit.mask:
        return edit
    offsets = (edit.offset, edit.first) if isinstance(edit, Ablation) else ()
    if not isinstance(edit, Ablation) or any(_at_wide(edit.mask, offset) for offset in offsets):
        wide = next(site for site in edit.mask.layout.sites if site.width > 1)
        raise MaskError(
            f"a unit of site {wide.name} is a vector of {wide.width} scalars, and one number says "
            "nothing of its direction; edit its scalars, with a mask over `layout.scalars()`"
        )
    offset, first = (
        None if vector is None else vector_of_scalars(edit.mask.layout, vector)
        for vector in (edit.offset, edit.first)
    )
    return Ablation(mask, edit.gain, offset, first)


def _at_wide(mask: UnitMask, offset: Vector | None) -> bool:
    """Return whether a selected unit of several scalars has an offset."""
    if offset is None:
        return False
    return any(
        bool(offset[mask.layout.slices[site.name]][mask.at(site.name)].any())
        for site in mask.layout.sites
        if site.width > 1
    )
