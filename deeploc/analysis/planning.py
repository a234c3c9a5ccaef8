"""The plan of an evaluation: which masks are ablated, how, and in which order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from deeploc.analysis.nothing_selected import fewer
from deeploc.contrast.fields import Ablate
from deeploc.core import selection
from deeploc.core.ablation import Edit
from deeploc.core.controls import (
    WITHOUT_MASSIVE,
    Compared,
    MaskLabel,
    PermutedT,
    check_available,
    control_mask,
    requested,
)
from deeploc.core.modes import Modes
from deeploc.core.results import INTACT, Cell
from deeploc.core.selection import count_of
from deeploc.core.units import Selection, StatMap, UnitMask

MakeAblation = Callable[[], Edit | None]


class Cells(Mapping[Cell, Edit | None]):
    """The ablation of every cell, made on access: of millions of units, one at a time.

    Equal requests give equal ablations.
    """

    def __init__(self, makers: Mapping[Cell, MakeAblation]) -> None:
        self._makers = makers

    def __getitem__(self, cell: Cell) -> Edit | None:
        return self._makers[cell]()

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def key(self, cell: Cell) -> str:
        """Return the key of a cell's ablation; ``none`` for the intact model."""
        ablation = self[cell]
        return INTACT if ablation is None else ablation.key


@dataclass(frozen=True)
class Plan:
    """Every ablation to be measured, and what had to be left out and why."""

    cells: Cells
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Dose:
    """The mask ablated at one dose at the sites of one kind, and the labels of its controls."""

    kind: str
    percent: float
    base: MaskLabel
    compared: Compared
    controls: Sequence[MaskLabel]

    @property
    def labels(self) -> list[MaskLabel]:
        return [self.base, *self.controls]

    def mask(self, label: MaskLabel) -> UnitMask:
        compared = self.compared
        return compared.mask if label == self.base else control_mask(compared, label)

    def ablation(self, mode: str, label: MaskLabel, modes: Modes) -> Edit:
        return modes.edit(mode, self.mask(label))


def plan(
    stat_map: StatMap,
    mask: UnitMask,
    ablate: Ablate,
    seed: int,
    permuted_t: PermutedT | None = None,
    *,
    modes: Modes | None = None,
) -> Plan:
    """Return every cell of an evaluation: the intact model, the selected units, the controls.

    Each kind of site is ablated on its own, so that kinds can be compared. The doses are
    ``ablate.percent`` of the units of a kind from the top of the ranking, or ``mask`` itself where
    no percentage is given. A dose without a unit is left out with a notice.

    Parameters
    ----------
    stat_map
        The statistics that units are ranked by.
    mask
        The contrast's own selection.
    ablate
        Modes, doses and controls, as a contrast file states them.
    seed
        Of the random controls.
    permuted_t
        Number of a permutation -> t under permuted condition labels, for the control ``shuffled``.
    modes
        What the modes put in place; default: what can be made of the statistics alone.

    Raises
    ------
    MaskError
        If mask and statistics are of different units.
    ValueError
        If a control needs more units than it can choose from, or a mode what cannot be had.
    """
    modes = modes or Modes(stat_map)
    doses, notices = [], modes.check(ablate.mode)
    for kind in mask.layout.kinds:
        among = mask.layout.of_kind(kind)
        size = int(among.sum())
        for percent, base, chosen in _doses(stat_map, mask, ablate, kind):
            wanted = count_of(percent, size) if base.kind == "top" else len(chosen)
            if notice := fewer(stat_map, kind, percent, wanted, len(chosen)):
                notices.append(notice)
            if not len(chosen):
                continue
            compared = Compared(chosen, stat_map, among, seed, permuted_t)
            controls = requested(ablate.controls)
            for label in controls:
                check_available(compared, label)
            doses.append(_Dose(kind, percent, base, compared, controls))
    return Plan(Cells(_makers(doses, ablate.mode, modes)), tuple(notices))


def deciding_doses(
    stat_map: StatMap,
    mask: UnitMask,
    ablate: Ablate,
    percent: float | None,
    seed: int,
    *,
    modes: Modes | None = None,
    massive: Selection | None = None,
) -> "list[DecidingDose]":
    """Return the ablation that decides the verdict, for each kind of site.

    The units and the name are those of a dose of the plan where it has them already, so that its
    controls are the first of the sequence.

    Parameters
    ----------
    stat_map
        The statistics that units are ranked by.
    mask
        The contrast's own selection.
    ablate
        The doses of the plan, and its modes, of which the first decides.
    percent
        Per cent of the units of a kind; None: the selection.
    seed
        Of the random controls.
    modes
        As for `plan`.
    massive
        Boolean ``(unit,)``: the massive units; default none.
    """
    if massive is None:
        massive = np.zeros(mask.layout.n_units, dtype=bool)
    doses = []
    for kind in mask.layout.kinds:
        among = mask.layout.of_kind(kind)
        wanted = Ablate(percent=None if percent is None else (percent,))
        ((share, base, chosen),) = _doses(stat_map, mask, wanted, kind)
        for planned in _doses(stat_map, mask, ablate, kind):
            if np.array_equal(planned[2].selected, chosen.selected):
                share, base = planned[:2]
        if len(chosen):
            compared = Compared(chosen, stat_map, among, seed)
            dose = _Dose(kind, share, base, compared, ())
            doses.append(DecidingDose(dose, ablate.mode[0], modes or Modes(stat_map), massive))
    return doses


@dataclass(frozen=True)
class DecidingDose:
    """The ablation at one kind of site that decides the verdict, and its random controls."""

    _dose: _Dose
    mode: str
    _modes: Modes
    _massive: Selection
    _n_massive: dict[Cell, int] = field(default_factory=dict, compare=False)

    @property
    def cell(self) -> Cell:
        """The ablation, by name."""
        dose = self._dose
        return Cell(dose.kind, self.mode, dose.percent, dose.base.name)

    @property
    def n_units(self) -> int:
        """How many units are ablated."""
        return len(self._dose.compared.mask)

    @property
    def without_massive(self) -> Cell | None:
        """The same ablation of all units but the massive ones, by name.

        None where that is no other ablation: no unit is massive, or all of them are.
        """
        if self.n_massive(self.cell) in (0, self.n_units):
            return None
        return self.named(WITHOUT_MASSIVE)

    def control(self, index: int) -> Cell:
        """Return the name of a matched random control.

        Parameters
        ----------
        index
            Its number, from 0.
        """
        return self.named(MaskLabel("random", index).name)

    def named(self, control: str) -> Cell:
        """Return the cell of a control of the ablation.

        Parameters
        ----------
        control
            Its name, e.g. ``random-3``.
        """
        return replace(self.cell, mask=control, control_of=self._dose.base.name)

    def n_massive(self, cell: Cell) -> int:
        """Return how many massive units an ablation holds.

        Parameters
        ----------
        cell
            `cell`, `without_massive`, or a control.
        """
        if not self._massive.any():
            return 0
        if cell not in self._n_massive:  # it is asked again after every control
            held = self._mask(cell).selected & self._massive
            self._n_massive[cell] = int(np.count_nonzero(held))
        return self._n_massive[cell]

    def ablation(self, cell: Cell) -> Edit:
        """Return the ablation that one of these names stands for.

        Parameters
        ----------
        cell
            `cell`, `without_massive`, or a control.
        """
        return self._modes.edit(self.mode, self._mask(cell))

    def _mask(self, cell: Cell) -> UnitMask:
        if cell.mask == WITHOUT_MASSIVE:
            whole = self._dose.compared.mask
            return UnitMask(whole.layout, whole.selected & ~self._massive)
        return self._dose.mask(cell.label if cell.control_of else self._dose.base)


def _makers(doses: Sequence[_Dose], names: Sequence[str], modes: Modes) -> dict[Cell, MakeAblation]:
    """Return how to make the ablation of every cell: masks first, then doses, then modes."""
    makers: dict[Cell, MakeAblation] = {Cell(): lambda: None}
    for position in range(max((len(dose.labels) for dose in doses), default=0)):
        for dose in doses:
            label = dose.labels[position]
            for mode in names:
                base = "" if label == dose.base else dose.base.name
                cell = Cell(dose.kind, mode, dose.percent, label.name, base)
                makers[cell] = partial(dose.ablation, mode, label, modes)
    return makers


def _doses(
    stat_map: StatMap, mask: UnitMask, ablate: Ablate, kind: str
) -> Iterator[tuple[float, MaskLabel, UnitMask]]:
    """Yield (percent of the kind's units, which mask it is, its units)."""
    among = mask.layout.of_kind(kind)
    if ablate.percent is None:
        chosen = mask.of_kind(kind)
        yield round(100 * len(chosen) / int(among.sum()), 4), MaskLabel("selected"), chosen
    else:
        for percent in ablate.percent:
            units = selection.top_percent(stat_map, percent, among)
            yield percent, MaskLabel("top"), units
