"""The plan of an evaluation: which masks are ablated, how, and in which order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deeploc.contrast.fields import Ablate
from deeploc.core import selection
from deeploc.core.ablation import Ablation
from deeploc.core.controls import Compared, MaskLabel, check_available, control_mask, requested
from deeploc.core.results import INTACT, Cell
from deeploc.core.selection import count_of
from deeploc.core.units import StatMap, UnitMask

MakeAblation = Callable[[], Ablation | None]


class Cells(Mapping[Cell, Ablation | None]):
    """The ablation of every cell, made on access: of millions of units, one at a time.

    Equal requests give equal ablations.
    """

    def __init__(self, makers: Mapping[Cell, MakeAblation]) -> None:
        self._makers = makers

    def __getitem__(self, cell: Cell) -> Ablation | None:
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


def plan(stat_map: StatMap, mask: UnitMask, ablate: Ablate, seed: int) -> Plan:
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

    Raises
    ------
    MaskError
        If mask and statistics are of different units.
    ValueError
        If a control needs more units than it can choose from.
    """
    doses, notices = [], []
    for kind in mask.layout.kinds:
        among = mask.layout.of_kind(kind)
        size = int(among.sum())
        for percent, base, chosen in _doses(stat_map, mask, ablate, kind):
            wanted = count_of(percent, size) if base.kind == "top" else len(chosen)
            if not len(chosen):
                notices.append(f"{percent:g} % of {size:,} {kind} units is no unit: not ablated")
                continue
            if len(chosen) < wanted:
                notices.append(
                    f"{percent:g} % of {size:,} {kind} units are {wanted:,}, of which "
                    f"{wanted - len(chosen):,} have no t (non-finite activation): the other "
                    f"{len(chosen):,} are ablated"
                )
            compared = Compared(chosen, stat_map, among, seed)
            controls = requested(ablate.controls)
            for label in controls:
                check_available(compared, label)
            doses.append(_Dose(kind, percent, base, compared, controls))
    return Plan(Cells(_makers(doses, ablate.mode, stat_map)), tuple(notices))


def _makers(
    doses: Sequence[_Dose], modes: Sequence[str], stat_map: StatMap
) -> dict[Cell, MakeAblation]:
    """Return how to make the ablation of every cell: masks first, then doses, then modes."""
    makers: dict[Cell, MakeAblation] = {Cell(): lambda: None}
    for position in range(max((len(dose.labels) for dose in doses), default=0)):
        for dose in doses:
            label = dose.labels[position]
            for mode in modes:
                base = "" if label == dose.base else dose.base.name
                cell = Cell(dose.kind, mode, dose.percent, label.name, base)
                makers[cell] = partial(_ablation, mode, dose, label, stat_map)
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


def _ablation(mode: str, dose: _Dose, label: MaskLabel, stat_map: StatMap) -> Ablation:
    return Ablation.of(mode, dose.mask(label), stat_map)
