"""Massive activations in words: which there are, and how many of the selected units are massive."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeploc.core.massive import (
    MASSIVE,
    MASSIVE_VALUE,
    STRETCH,
    Dimension,
    MassiveActivations,
    massive_selection,
)
from deeploc.core.units import Layout, UnitMask
from deeploc.runs.control_masks import Units

_MOST = 8
"""So many units or sites are named; of more the number is given."""


def describe_massive(massive: MassiveActivations, mask: UnitMask) -> list[str]:
    """Return a line per dimension and kind of site with massive activations, or one that says none.

    Parameters
    ----------
    massive
        Those of a model.
    mask
        The selected units.
    """
    if massive.missing:
        return [f"massive activations: not known ({massive.missing})"]
    lines = []
    for kind in dict.fromkeys(site.kind for site in massive.sites):
        lines += _lines_of(massive, mask, kind)
    return lines or [
        f"no massive activations (over {MASSIVE:,.0f} medians of the site and over "
        f"{MASSIVE_VALUE:g}) on {massive.n_stimuli} stimuli"
    ]


def holding_massive(
    massive: MassiveActivations | None, controls: Mapping[str, Units], layout: Layout
) -> set[str]:
    """Return the names of the controls that hold massive units.

    Parameters
    ----------
    massive
        Those of the model; None where they are not known.
    controls
        Name -> the numbers of the units of each control.
    layout
        The sites that they are numbered over.
    """
    selection = massive_selection(massive, layout)
    if selection is None:
        return set()
    return {name for name, units in controls.items() if selection[units].any()}


def massive_part(massive: MassiveActivations | None, mask: UnitMask) -> dict[str, Any]:
    """Return what the report says of massive activations: lines, and a row per site.

    Parameters
    ----------
    massive
        Those of the model; None where nobody looked.
    mask
        The selected units.
    """
    if massive is None:
        return {"lines": [], "sites": []}
    return {
        "lines": [f"{line[:1].upper()}{line[1:]}." for line in describe_massive(massive, mask)],
        "sites": massive.sites,
        "n_stimuli": massive.n_stimuli,
    }


def _lines_of(massive: MassiveActivations, mask: UnitMask, kind: str) -> list[str]:
    sites = [site for site in massive.sites if site.kind == kind]
    n = sum(len(site.massive) for site in sites)
    if not n:
        return []
    units = massive.units(mask.layout)
    chosen = mask.of_kind(kind).selected
    held = f"{int(np.count_nonzero(chosen & units)):,} of {int(chosen.sum()):,} selected units"
    dimensions = [d for d in massive.dimensions if any(s.site in d.massive for s in sites)]
    several = {d.index for d in dimensions}
    alone = [f"{site.site}[{i}]" for site in sites for i in site.massive if i not in several]
    lines = [_dimension(dimension, len(sites)) for dimension in dimensions]
    if alone:
        more = f" and {len(alone) - _MOST} more" if len(alone) > _MOST else ""
        lines.append(f"{', '.join(alone[:_MOST])}{more}")
    return [f"massive activations in {kind}: {'; '.join(lines)}; {held}"]


def _dimension(dimension: Dimension, n_sites: int) -> str:
    where = f"massive in {len(dimension.massive)} of {n_sites} sites ({_ends(dimension.massive)})"
    if not dimension.stretch:
        return f"dimension {dimension.index} {where}"
    further = f"{len(dimension.stretch)} more"
    return f"dimension {dimension.index} {where}, above {STRETCH:g} medians in {further}"


def _ends(sites: Sequence[str]) -> str:
    return sites[0] if len(sites) == 1 else f"{sites[0]} … {sites[-1]}"
