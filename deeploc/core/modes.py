"""What each mode of ablation makes of the activations of the ablated units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from deeploc.core.ablation import Ablation, Edit, check_same_units, parse_gain
from deeploc.core.position_classes import PositionMoments
from deeploc.core.replacing import Donors, Noise, Resampling
from deeploc.core.scalars import mask_of_scalars
from deeploc.core.units import StatMap, UnitMask, Vector


@dataclass(frozen=True)
class Modes:
    """What the modes of ablation need of a model beside the units that are ablated.

    Parameters
    ----------
    stat_map
        The statistics of its units.
    moments
        Returns their moments by class of position, for ``mean`` and ``noise``; None: they cannot
        be had, and ``mean`` holds units at their ``baseline``.
    donors
        Returns stimuli of the control condition, for ``resample``; None: they cannot be had.
    seed
        Of ``resample`` and ``noise``.
    difference
        Returns the mean signed activation of every unit over the preferred side of the contrast
        minus that over the other, for ``add``, of units that are several scalars one for each;
        None: it is not known.
    """

    stat_map: StatMap
    moments: Callable[[], PositionMoments] | None = None
    donors: Callable[[], Donors] | None = None
    seed: int = 0
    difference: Callable[[], Vector] | None = None

    def edit(self, mode: str, mask: UnitMask) -> Edit:
        """Return the edit that ``mode`` makes of the units of ``mask``.

        Parameters
        ----------
        mode
            ``zero``, ``mean``, ``resample``, ``noise``, ``scale:G``, ``add`` or ``add:G``.
        mask
            The units that are ablated.

        Raises
        ------
        MaskError
            If mask and statistics are of different units.
        ValueError
            If there is no such mode, or it needs what cannot be had.
        """
        self.check([mode])
        if mode == "resample" and self.donors is not None:
            return Resampling(mask_of_scalars(mask), self.donors(), self.seed)
        if mode == "noise" and self.moments is not None:
            return Noise(mask_of_scalars(mask), self.moments(), self.seed)
        if adds(mode) and self.difference is not None:
            check_same_units(mask, self.stat_map)
            moved = parse_gain(mode, "add") * self.difference()
            return Ablation(mask_of_scalars(mask), gain=1.0, offset=moved)
        moments = self.moments() if mode == "mean" and self.moments is not None else None
        return Ablation.of(mode, mask, self.stat_map, moments)

    def check(self, modes: Sequence[str]) -> list[str]:
        """Refuse modes that need what cannot be had of the model.

        Parameters
        ----------
        modes
            The modes of an evaluation.

        Returns
        -------
        list
            What is to be said of modes that are made otherwise than they should be.

        Raises
        ------
        ValueError
            If one is ``resample`` or ``noise``, and activations cannot be read at every position,
            or one is ``add``, and the difference is not known.
        """
        for mode in modes:
            if adds(mode) and self.difference is None:
                raise ValueError(
                    f"mode {mode!r} adds the difference between the sides of the contrast, which "
                    "is not known here; give `Modes` the `difference`, or open the run"
                )
            check_readable(mode, reads=self.donors is not None and self.moments is not None)
        if "mean" not in modes or self.moments is not None:
            return []
        return [
            "mode 'mean': means by class of position are not known (the adapter does not show "
            "positions, or `modes` was not given), so units are held everywhere at their mean over "
            "what the localizer read"
        ]


def check_readable(mode: str, *, reads: bool) -> None:
    """Refuse a mode that needs activations at every position of a model that does not show them.

    Parameters
    ----------
    mode
        The mode.
    reads
        Whether the model shows them.

    Raises
    ------
    ValueError
        If it does not and the mode is ``resample`` or ``noise``.
    """
    if mode in ("resample", "noise") and not reads:
        raise ValueError(
            f"mode {mode!r} needs activations at every position, which this adapter does not "
            "show (it lacks `positions`); use zero, mean, scale:G or add"
        )


NEED_MOMENTS = ("mean", "noise")
"""The modes that need moments by class of position."""


def protocol(mode: str, *, by_class: bool = True) -> str:
    """Return what a mode does to the ablated units, in words that follow "by".

    Results of ablations change with what is put in place and where (Miller et al. 2024, arXiv
    2407.08734): this is what a report says.

    Parameters
    ----------
    mode
        ``zero``, ``mean``, ``resample``, ``noise``, ``scale:G``, ``add`` or ``add:G``.
    by_class
        Whether moments by class of position were read.
    """
    first = (
        ", that at the first position (first token or class token) apart from that at all others"
    )
    words = {
        "zero": "setting them to 0",
        "mean": f"holding each at its own mean over all positions of localizing stimuli{first}"
        if by_class
        else "holding each at its own mean over what the localizer read",
        "resample": "setting them to their activations at the same position of a localizing "
        "stimulus of the control condition, one random stimulus for all units",
        "noise": "setting them to independent normal draws with each unit's own mean and standard "
        f"deviation over all positions of localizing stimuli{first}",
    }
    if adds(mode):
        times = "" if mode == "add" else f"{mode.partition(':')[2]} times "
        return (
            f"adding to each, at every position, {times}its mean signed activation over the "
            "preferred side of the contrast minus that over the other side (steering)"
        )
    return words.get(mode) or f"scaling them by {mode.partition(':')[2]}"


def adds(mode: str) -> bool:
    """Return whether a mode adds the difference between the sides of the contrast."""
    return mode.partition(":")[0] == "add"


Manner = Literal["ablation", "amplification", "steering"]


def manner(mode: str) -> Manner:
    """Return what a mode is called: only an ablation takes away what units hold.

    Parameters
    ----------
    mode
        Any mode; ``scale:G`` amplifies where G is beyond 1 or -1.
    """
    if adds(mode):
        return "steering"
    name, _, gain = mode.partition(":")
    return "amplification" if name == "scale" and abs(float(gain)) > 1 else "ablation"
