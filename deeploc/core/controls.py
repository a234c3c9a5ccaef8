"""Controls: the masks that an ablated mask is compared with.

A control is one entry of `CONTROLS`: a name, how its units are chosen, and whether it is matched,
that is, whether it can stand for "any units would have done" in an empirical p value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from deeploc.contrast.fields import Controls
from deeploc.core.selection import (
    Ranking,
    between_percentiles,
    bottom_k,
    n_selectable,
    percentile_range,
)
from deeploc.core.units import Selection, UnitMask

Range = tuple[float, float]
Seed = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class MaskLabel:
    """Which mask of a cell was ablated.

    Parameters
    ----------
    kind
        ``selected`` (the contrast's own selection), ``top`` (a dose from the top of the ranking),
        a name in `CONTROLS`, or ``none`` (the intact model).
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
            low, _, high = rest.partition("-")
            return cls(kind, range=(float(low), float(high)))
        return cls(name)

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
    ranking
        What the units were selected by.
    among
        Boolean ``(unit,)``: the units at sites of that kind.
    seed
        The seed of the run.
    """

    mask: UnitMask
    ranking: Ranking
    among: Selection
    seed: int


@dataclass(frozen=True)
class Control:
    """One sort of control.

    Parameters
    ----------
    matched
        Whether it holds as many units at every site as the mask, so that its damage is what any
        units would do.
    choose
        Returns the control's units.
    available
        Returns how many units there are to choose from.
    """

    matched: bool
    choose: Callable[[Compared, MaskLabel], UnitMask]
    available: Callable[[Compared, MaskLabel], int]


def _random(compared: Compared, label: MaskLabel) -> UnitMask:
    return random_like(compared.mask, _seed(compared, label))


def _random_global(compared: Compared, label: MaskLabel) -> UnitMask:
    return random_global(compared.mask, _seed(compared, label), compared.among)


def _bottom(compared: Compared, _: MaskLabel) -> UnitMask:
    return bottom_k(compared.ranking, len(compared.mask), compared.among)


def _range(compared: Compared, label: MaskLabel) -> UnitMask:
    low, high = label.range or (0.0, 100.0)
    k, seed, among = len(compared.mask), compared.seed, compared.among
    return percentile_range(compared.ranking, low, high, k, seed=seed, among=among)


def _seed(compared: Compared, label: MaskLabel) -> tuple[int, int]:
    return compared.seed, label.index or 0


def _n_unselected(compared: Compared, _: MaskLabel) -> int:
    return int(np.count_nonzero(compared.among & ~compared.mask.selected))


def _n_among(compared: Compared, _: MaskLabel) -> int:
    return int(np.count_nonzero(compared.among))


def _n_scored(compared: Compared, _: MaskLabel) -> int:
    return n_selectable(compared.ranking, compared.among)


def _n_in_range(compared: Compared, label: MaskLabel) -> int:
    low, high = label.range or (0.0, 100.0)
    inside = between_percentiles(compared.ranking, low, high, compared.among)
    return int(np.count_nonzero(inside))


CONTROLS: Mapping[str, Control] = {
    "random": Control(True, _random, _n_among),
    "random-global": Control(False, _random_global, _n_unselected),
    "bottom": Control(False, _bottom, _n_scored),
    "range": Control(False, _range, _n_in_range),
}
"""Every control by the name that it has in contrast files and in scores.csv."""


def is_matched(kind: str) -> bool:
    """Return whether masks of this kind are matched controls (False for what is no control)."""
    return kind in CONTROLS and CONTROLS[kind].matched


def requested(controls: Controls) -> list[MaskLabel]:
    """Return the controls that a contrast file asks for, in the order of `CONTROLS`."""
    labels: list[MaskLabel] = []
    for kind in CONTROLS:
        setting = getattr(controls, kind.replace("-", "_"))
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
        If fewer units are available than the mask has.
    """
    n = CONTROLS[label.kind].available(compared, label)
    if n < len(compared.mask):
        raise ValueError(
            f"control {label.name!r} needs {len(compared.mask):,} units and can choose from {n:,}; "
            "lower ablate.percent, or leave the control out"
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
    return CONTROLS[label.kind].choose(compared, label)


def random_like(mask: UnitMask, seed: Seed) -> UnitMask:
    """Select as many units per site as ``mask`` does, at random, none of them in ``mask``.

    Stricter than ``random_mask.py`` of BKHMSI/llm-localization, which matches only the total: a
    control that lands in other layers differs from the mask in two ways, not one. Where a site
    has too few other units (more than half selected), all of these are taken and the rest comes
    from the selected ones.

    Parameters
    ----------
    mask
        The units to match.
    seed
        One number or several; equal seeds give equal units.
    """
    rng = np.random.default_rng(seed)
    selected = [_sampled_like(mask.at(site.name), rng) for site in mask.layout.sites]
    return UnitMask(mask.layout, np.concatenate(selected))


def random_global(mask: UnitMask, seed: Seed, among: Selection | None = None) -> UnitMask:
    """Select as many units as ``mask`` does from all others, wherever they lie.

    The control of AlKhamissi et al. (2025): uniform over the complement of the mask.

    Parameters
    ----------
    mask
        The units whose number is matched.
    seed
        One number or several; equal seeds give equal units.
    among
        Boolean ``(unit,)``: the units to sample from; default all.

    Raises
    ------
    ValueError
        If fewer units are left than are selected.
    """
    pool = np.flatnonzero(~mask.selected if among is None else among & ~mask.selected)
    if len(mask) > pool.size:
        raise ValueError(
            f"cannot sample {len(mask)} control units: only {pool.size} are unselected"
        )
    sampled = np.random.default_rng(seed).choice(pool, len(mask), replace=False)
    selected = np.zeros(mask.layout.n_units, dtype=bool)
    selected[sampled] = True
    return UnitMask(mask.layout, selected)


def _sampled_like(
    taken: Bool[np.ndarray, " site_unit"], rng: np.random.Generator
) -> Bool[np.ndarray, " site_unit"]:
    free, wanted = np.flatnonzero(~taken), int(taken.sum())
    sampled = rng.choice(free, min(wanted, free.size), replace=False)
    rest = rng.choice(np.flatnonzero(taken), wanted - sampled.size, replace=False)
    control = np.zeros_like(taken)
    control[np.concatenate([sampled, rest])] = True
    return control
