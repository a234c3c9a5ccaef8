"""Controls that are plugins: from one function to a mask that can be compared."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from deeploc import entry_points
from deeploc.core.units import VECTORS, Selection, StatMap, UnitMask
from deeploc.errors import PluginError, described


@runtime_checkable
class ChoosesControl(Protocol):
    """A plugin of the group ``controls``: chooses the units that a mask is compared with."""

    def __call__(self, mask: UnitMask, ranking: StatMap, seed: int, /) -> UnitMask:
        """Return as many units as the mask has; equal arguments must give equal units.

        Parameters
        ----------
        mask
            The ablated units. Its layout holds the sites of one kind.
        ranking
            The statistics of the units at the same sites: ``t``, ``p``, ``d``, ``magnitude``.
        seed
            Another one for every mask of this control.
        """
        ...


def chosen(
    name: str, mask: UnitMask, stat_map: StatMap, among: Selection, seed: tuple[int, int]
) -> UnitMask:
    """Return the units that the control of a plugin chooses.

    Parameters
    ----------
    name
        The plugin.
    mask
        The ablated units, all at sites of one kind.
    stat_map
        The statistics of the same units.
    among
        Boolean ``(unit,)``: the units at sites of that kind.
    seed
        The seed of the run, and the number of the mask.

    Raises
    ------
    PluginError
        If there is no such plugin, it fails, or what it returns is no mask of as many units.
    """
    plugin = entry_points.find("deeploc.controls", name)
    control: ChoosesControl = plugin.load()
    part, ranking = _of_one_kind(mask, stat_map, among)
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    with plugin.guarded():
        made = control(part, ranking, number)
    if not isinstance(made, UnitMask) or made.layout != part.layout:
        of_others = " of another layout" if isinstance(made, UnitMask) else ""
        raise PluginError(
            f"{plugin.title} returned {described(made)}{of_others}; it must return "
            "UnitMask(mask.layout, selected) of the mask that it was given"
        )
    if made.selected.dtype != bool:
        raise plugin.wrong(made.selected, "a mask of booleans, one per unit, not of numbers")
    if len(made) != len(mask):
        raise PluginError(
            f"{plugin.title} chose {len(made):,} units for a mask of {len(mask):,}; a control must "
            "have as many"
        )
    selected = np.zeros(mask.layout.n_units, dtype=bool)
    selected[among] = made.selected
    return UnitMask(mask.layout, selected)


def _of_one_kind(mask: UnitMask, stat_map: StatMap, among: Selection) -> tuple[UnitMask, StatMap]:
    """Return mask and statistics without the sites of other kinds."""
    sites = mask.layout.sites
    kept = [site for site in sites if among[mask.layout.slices[site.name]].any()]
    layout = replace(mask.layout, sites=tuple(kept))
    part = {name: getattr(stat_map, name)[among] for name in VECTORS}
    means = {name: values[among] for name, values in stat_map.means.items()}
    sds = {name: values[among] for name, values in stat_map.sds.items()}
    ranking = StatMap(layout, **part, means=means, sds=sds)
    return UnitMask(layout, mask.selected[among]), ranking
