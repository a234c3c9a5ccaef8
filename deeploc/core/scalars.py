"""Units of several scalars, attention heads: one number each where they are read, all if edited."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64

from deeploc.core.units import Layout, UnitMask, Vector


def mask_of_scalars(mask: UnitMask) -> UnitMask:
    """Return the mask with every scalar of a selected unit selected; itself if there is one each.

    Parameters
    ----------
    mask
        The selected units.
    """
    if all(site.width == 1 for site in mask.layout.sites):
        return mask
    return UnitMask(mask.layout.scalars(), np.repeat(mask.selected, _widths(mask.layout)))


def mask_of_units(mask: UnitMask, layout: Layout) -> UnitMask:
    """Return a mask over scalars as one over units: those of which a scalar is selected.

    Parameters
    ----------
    mask
        Of the units of ``layout``, or of every scalar of them.
    layout
        The sites with their units.
    """
    if len(mask.selected) == layout.n_units:
        return mask
    starts = np.cumsum([0, *_widths(layout)[:-1]])
    return UnitMask(layout, np.logical_or.reduceat(mask.selected, starts))


def vector_of_scalars(layout: Layout, vector: Vector) -> Float64[np.ndarray, " scalar"]:
    """Return a vector over units as one over scalars, each with the number of its unit.

    Parameters
    ----------
    layout
        The sites.
    vector
        ``(unit,)``.
    """
    repeated: Float64[np.ndarray, " scalar"] = np.repeat(vector, _widths(layout))
    return repeated


def values_of_units(
    layout: Layout, positions: Mapping[str, Float[np.ndarray, "_ _"]]
) -> Mapping[str, Float[np.ndarray, "_ _"]]:
    """Return activations of scalars as those of units: of several scalars the Euclidean norm.

    Parameters
    ----------
    layout
        The sites with their units.
    positions
        Name of a site -> ``(position, scalar)``.
    """
    wide = {site.name: site.width for site in layout.sites if site.width > 1}
    norms = {
        name: np.linalg.norm(positions[name].reshape(len(positions[name]), -1, width), axis=-1)
        for name, width in wide.items()
    }
    return {**positions, **norms}


def _widths(layout: Layout) -> np.ndarray:
    return np.repeat([s.width for s in layout.sites], [s.n_units for s in layout.sites])
