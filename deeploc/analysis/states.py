"""The states of a localized model whose output is shown: intact, ablated, amplified, random."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, runtime_checkable

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Adapter
from deeploc.core.controls import Compared, MaskLabel, control_mask
from deeploc.core.examples import State, StateName
from deeploc.core.modes import Manner, Modes, manner
from deeploc.core.selection import top_percent
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import MaskError, TaskError

AMPLIFY = "scale:3"
"""How units are amplified where nothing else is asked for: their activations times 3."""

_NAMES: Mapping[Manner, StateName] = {
    "ablation": "ablated",
    "amplification": "amplified",
    "steering": "steered",
}


@dataclass(frozen=True)
class Dose:
    """What to ablate, and how.

    Parameters
    ----------
    modes
        ``zero``, ``mean``, ``resample``, ``noise``, ``scale:G``, ``add`` or ``add:G``; one or
        several, each with a random control.
    percent
        How many per cent (0-100) of the units of a kind, from the top of the ranking; None for the
        selected units.
    kind
        The kind of site; None for the first one of the run.
    amplify
        A further mode, without a control: ``scale:G`` (G beyond 1 or -1), ``add`` or ``add:G``;
        None: none.

    Raises
    ------
    TaskError
        If ``amplify`` takes something away, or is no mode.
    """

    modes: tuple[str, ...] = ("zero",)
    percent: float | None = None
    kind: str | None = None
    amplify: str | None = AMPLIFY

    def __post_init__(self) -> None:
        if self.amplify is not None and not _amplifies(self.amplify):
            raise TaskError(
                f"{self.amplify!r} does not amplify; modes that do are scale:G with G beyond 1 or "
                "-1, e.g. scale:3, add and add:G; none: nothing is amplified"
            )


@runtime_checkable
class LocalizedModel(Protocol):
    """A loaded model with the statistics of its units and the selected units."""

    @property
    def adapter(self) -> Adapter:
        """The model."""
        ...

    @property
    def stat_map(self) -> StatMap:
        """The statistics of its units."""
        ...

    @property
    def modes(self) -> Modes:
        """What the modes of ablation put in place."""
        ...

    @property
    def mask(self) -> UnitMask:
        """The selected units."""
        ...


def states_of(run: LocalizedModel, dose: Dose, seed: int) -> dict[State, Edit]:
    """Return the edits that are shown: each mode, what is amplified, each mode at random units.

    Parameters
    ----------
    run
        The model.
    dose
        The units to ablate, and how.
    seed
        Of the random units: with that of a run those of its control ``random-0``.

    Raises
    ------
    TaskError
        If a mode is unknown, or needs what the model does not show.
    MaskError
        If the run has no such kind of site, or the dose contains no unit.
    """
    kind, mask = _mask(run, dose)
    among = run.mask.layout.of_kind(kind)
    control = control_mask(Compared(mask, run.stat_map, among, seed), MaskLabel("random", 0))
    amplified = () if dose.amplify in (None, *dose.modes) else (str(dose.amplify),)
    n, edits = len(mask), dict[State, Edit]()
    try:
        for mode in (*dose.modes, *amplified):
            edit = run.modes.edit(mode, mask)
            edits[State(_NAMES[manner(mode)], kind, mode, n)] = edit
        for mode in dose.modes:
            edits[State("random", kind, mode, n)] = run.modes.edit(mode, control)
    except ValueError as error:
        raise TaskError(str(error)) from None
    return edits


def _amplifies(mode: str) -> bool:
    """Return whether a mode adds to what units hold."""
    if mode == "add":
        return True
    name, _, gain = mode.partition(":")
    try:
        beyond = isfinite(float(gain)) and abs(float(gain)) > 1
        return (name == "add" and isfinite(float(gain))) or (name == "scale" and beyond)
    except ValueError:
        return False


def _mask(run: LocalizedModel, dose: Dose) -> tuple[str, UnitMask]:
    """Return the kind of site, and the units of it that are edited."""
    kinds = run.mask.layout.kinds
    selected = [kind for kind in kinds if len(run.mask.of_kind(kind))]
    kind = dose.kind or next(iter(selected), kinds[0])
    if kind not in kinds:
        raise MaskError(f"this run has no sites of kind {kind!r}; it has {', '.join(kinds)}")
    if dose.percent is None:
        mask = run.mask.of_kind(kind)
    else:
        among = run.mask.layout.of_kind(kind)
        mask = top_percent(run.stat_map, dose.percent, among)
    if not len(mask):
        raise MaskError(f"no unit of {kind} to ablate at this dose; give a larger --percent")
    return kind, mask
