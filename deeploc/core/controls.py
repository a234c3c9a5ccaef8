"""Controls: the masks that an ablated mask is compared with.

A control is one entry of `CONTROLS`: a name, how its units are chosen, among which, and whether it
is matched, that is, whether it can stand for "any units would have done" in an empirical p value.
Any other name is that of a plugin (`deeploc.core.control_plugins`), which is not matched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deeploc.contrast.fields import Controls
from deeploc.core import control_plugins
from deeploc.core.matching import lowest_like, magnitude_like, random_global, random_like
from deeploc.core.selectable import UnitScores
from deeploc.core.selection import (
    between_percentiles,
    bottom_k,
    percentile_range,
    top_k,
)
from deeploc.core.stats import Vector
from deeploc.core.units import Selection, StatMap, UnitMask

WITHOUT_MASSIVE = "without-massive"
"""The name of an ablation that leaves out the massive units of the one that it belongs to."""

Range = tuple[float, float]
PermutedT = Callable[[int], Vector]
"""Return t of every unit under a permutation of the condition labels, by its number."""


@dataclass(frozen=True, slots=True)
class MaskLabel:
    """Which mask of a cell was ablated.

    Parameters
    ----------
    kind
        ``selected`` (the contrast's own selection), ``top`` (a dose from the top of the ranking),
        `WITHOUT_MASSIVE`, a name in `CONTROLS`, or ``none`` (the intact model).
    index
        The number of this one among several of its kind, counted from 0; None where there is one.
    range
        The two percentiles of the control ``range``.
    """

    kind: str
    index: int | None = None
    range: Range | None = None

    @classmethod
    def parse(cls, name: str) -> "MaskLabel":
        """Return the label of which ``name`` is the name.

        Examples
        --------
        >>> MaskLabel.parse("random-global-3")
        MaskLabel(kind='random-global', index=3, range=None)
        """
        for kind in sorted(CONTROLS, key=len, reverse=True):
            rest = name.removeprefix(f"{kind}-")
            if rest == name:
                continue
            if rest.isdecimal():
                return cls(kind, int(rest))
            if kind == "range":
                low, _, high = rest.partition("-")
                return cls(kind, range=(float(low), float(high)))
        kind, _, number = name.rpartition("-")
        return cls(kind, int(number)) if kind and number.isdecimal() else cls(name)

    @property
    def name(self) -> str:
        """What tables call it: ``random-3``, ``range-80-90``, ``bottom``."""
        if self.range is not None:
            return f"{self.kind}-{self.range[0]:g}-{self.range[1]:g}"
        return self.kind if self.index is None else f"{self.kind}-{self.index}"


@dataclass(frozen=True)
class Compared:
    """The mask that a control is made for.

    Parameters
    ----------
    mask
        The ablated units, all at sites of one kind.
    stat_map
        The statistics of the same units.
    among
        Boolean ``(unit,)``: the units at sites of that kind.
    seed
        The seed of the run.
    permuted_t
        What ``shuffled`` selects by; None where the activations that localized are not at hand.
    """

    mask: UnitMask
    stat_map: StatMap
    among: Selection
    seed: int
    permuted_t: PermutedT | None = None


@dataclass(frozen=True)
class Control:
    """One sort of control.

    Parameters
    ----------
    choose
        Returns the control's units.
    candidates
        Returns which units it can choose from.
    per_site
        Whether it needs as many candidates at every site as the mask has units there, and not
        only as many in all.
    matched
        Whether it is drawn at random from all units but the mask's, as many at every site, so
        that its damage is what any units would do.
    """

    choose: Callable[[Compared, MaskLabel], UnitMask]
    candidates: Callable[[Compared, MaskLabel], Selection]
    per_site: bool = False
    matched: bool = False


def _random(compared: Compared, label: MaskLabel) -> UnitMask:
    return random_like(compared.mask, _seed(compared, label))


def _random_global(compared: Compared, label: MaskLabel) -> UnitMask:
    return random_global(compared.mask, _seed(compared, label), compared.among)


def _magnitude_matched(compared: Compared, label: MaskLabel) -> UnitMask:
    return magnitude_like(compared.mask, compared.stat_map.magnitude, _seed(compared, label))


def _shuffled(compared: Compared, label: MaskLabel) -> UnitMask:
    ranking = UnitScores(compared.mask.layout, _require(compared.permuted_t)(label.index or 0))
    return top_k(ranking, len(compared.mask), compared.among)


def _require(permuted_t: PermutedT | None) -> PermutedT:
    if permuted_t is None:
        raise ValueError(
            "control 'shuffled' needs the activations that localized, which are not at hand or too "
            "many to keep; read fewer sites, or leave it out"
        )
    return permuted_t


def _bottom(compared: Compared, _: MaskLabel) -> UnitMask:
    return bottom_k(UnitScores.of(compared.stat_map), len(compared.mask), compared.among)


def _opposite(compared: Compared, _: MaskLabel) -> UnitMask:
    return lowest_like(compared.mask, compared.stat_map.scores)


def _range(compared: Compared, label: MaskLabel) -> UnitMask:
    low, high = label.range or (0.0, 100.0)
    k, seed, among = len(compared.mask), compared.seed, compared.among
    return percentile_range(UnitScores.of(compared.stat_map), low, high, k, seed=seed, among=among)


def _seed(compared: Compared, label: MaskLabel) -> tuple[int, int]:
    return compared.seed, label.index or 0


def _all(compared: Compared, _: MaskLabel) -> Selection:
    return compared.among


def _unselected(compared: Compared, _: MaskLabel) -> Selection:
    others: Selection = compared.among & ~compared.mask.selected
    return others


def _unselected_with_magnitude(compared: Compared, label: MaskLabel) -> Selection:
    others: Selection = _unselected(compared, label) & ~np.isnan(compared.stat_map.magnitude)
    return others


def _with_t(compared: Compared, _: MaskLabel) -> Selection:
    ranked: Selection = compared.among & ~np.isnan(compared.stat_map.scores)
    return ranked


def _shuffled_candidates(compared: Compared, label: MaskLabel) -> Selection:
    _require(compared.permuted_t)
    return _with_t(compared, label)


def _unselected_with_t(compared: Compared, label: MaskLabel) -> Selection:
    others: Selection = _unselected(compared, label) & ~np.isnan(compared.stat_map.scores)
    return others


def _in_range(compared: Compared, label: MaskLabel) -> Selection:
    low, high = label.range or (0.0, 100.0)
    return between_percentiles(UnitScores.of(compared.stat_map), low, high, compared.among)


CONTROLS: Mapping[str, Control] = {
    "random": Control(_random, _all, matched=True),
    "random-global": Control(_random_global, _unselected),
    "magnitude-matched": Control(_magnitude_matched, _unselected_with_magnitude, per_site=True),
    "shuffled": Control(_shuffled, _shuffled_candidates),
    "bottom": Control(_bottom, _with_t),
    "opposite": Control(_opposite, _unselected_with_t, per_site=True),
    "range": Control(_range, _in_range),
}
"""Every control by the name that it has in contrast files and in scores.csv.

``magnitude-matched`` is not matched: it is drawn from units like the selected ones, not from all
others, and asks another question than ``random`` does. So the two never share one p value. Nor is
``shuffled``: what a localizer selects by chance need not lie at the same sites.
"""


def is_matched(kind: str) -> bool:
    """Return whether masks of this kind are matched controls (False for what is no control)."""
    return kind in CONTROLS and CONTROLS[kind].matched


def requested(controls: Controls) -> list[MaskLabel]:
    """Return the controls that a contrast file asks for: those of `CONTROLS`, then plugins."""
    labels: list[MaskLabel] = []
    own = {kind: getattr(controls, kind.replace("-", "_")) for kind in CONTROLS}
    for kind, setting in {**own, **controls.of_plugins}.items():
        if isinstance(setting, tuple):
            labels.append(MaskLabel(kind, range=setting))
        elif isinstance(setting, bool):
            labels += [MaskLabel(kind)] * setting
        elif setting is not None:
            labels += [MaskLabel(kind, index) for index in range(setting)]
    return labels


def check_available(compared: Compared, label: MaskLabel) -> None:
    """Refuse a control for which there are too few units.

    Parameters
    ----------
    compared
        The mask that the control is made for.
    label
        The control.

    Raises
    ------
    ValueError
        If fewer units are available than the mask has, in all or at one of the sites, or the
        control needs activations that are not at hand.
    """
    if label.kind not in CONTROLS:
        control_mask(compared, label)  # whether a plugin works shows when it is called
        return
    control = CONTROLS[label.kind]
    candidates = UnitMask(compared.mask.layout, control.candidates(compared, label))
    needed = [("", compared.mask.selected, candidates.selected)]
    if control.per_site:
        needed = [
            (f" at site {site.name}", compared.mask.at(site.name), candidates.at(site.name))
            for site in compared.mask.layout.sites
        ]
    for where, wanted, available in needed:
        n, n_available = np.count_nonzero(wanted), np.count_nonzero(available)
        if n_available < n:
            raise ValueError(
                f"control {label.name!r} needs {n:,} units{where} and can choose from "
                f"{n_available:,}; lower ablate.percent, or leave the control out"
            )


def control_mask(compared: Compared, label: MaskLabel) -> UnitMask:
    """Return the units of a control; equal arguments give equal units.

    Parameters
    ----------
    compared
        The mask that the control is made for.
    label
        The control.

    Raises
    ------
    ValueError
        If there are too few units to choose from.
    """
    if label.kind in CONTROLS:
        return CONTROLS[label.kind].choose(compared, label)
    of_kind = (compared.mask, compared.stat_map, compared.among)
    return control_plugins.chosen(label.kind, *of_kind, _seed(compared, label))
