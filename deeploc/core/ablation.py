"""What is done to the selected units: one affine edit covers every mode."""

from dataclasses import dataclass

import numpy as np

from deeploc.core.units import StatMap, UnitMask, Vector


@dataclass(frozen=True)
class Ablation:
    """Replace every selected unit ``x`` by ``gain * x + offset``, at every position.

    ``offset`` is a vector ``(unit,)`` in the model's own activation units; ``None`` is 0.
    ``gain=0`` silences a unit (zero ablation), ``gain=0`` with its mean as ``offset`` holds it
    at that mean (mean ablation), any other ``gain`` turns it down or up.
    """

    mask: UnitMask
    gain: float = 0.0
    offset: Vector | None = None

    @classmethod
    def of(cls, mode: str, mask: UnitMask, stat_map: StatMap) -> "Ablation":
        """Return the ablation that ``mode`` names: ``zero``, ``mean`` or ``scale:G``.

        ``mean`` takes each unit's own mean over the localizer's stimuli, never one mean for all
        units: with a global scalar (as in the code of Kryvosheieva et al. 2025, arXiv 2512.03676)
        random controls do as much damage as the selected units.

        Raises
        ------
        ValueError
            If ``mode`` is none of these, or ``G`` is not a finite number.
        """
        if mode == "zero":
            return cls(mask)
        if mode == "mean":
            return cls(mask, offset=stat_map.baseline)
        return cls(mask, gain=parse_scale(mode))


def parse_scale(mode: str) -> float:
    """Return G of the mode ``scale:G``."""
    name, _, gain = mode.partition(":")
    try:
        if name == "scale" and np.isfinite(float(gain)):
            return float(gain)
    except ValueError:
        pass
    raise ValueError(
        f"no ablation mode {mode!r}; there are 'zero', 'mean' and 'scale:G', e.g. 'scale:0.5'"
    )
