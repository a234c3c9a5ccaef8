"""Moments of units by class of position: the first position of a stimulus, and all later ones."""

from dataclasses import dataclass

import numpy as np

from deeploc.core.units import Layout, Vector
from deeploc.errors import MaskError


@dataclass(frozen=True)
class PositionMoments:
    """Mean and standard deviation of every unit over the positions of some stimuli.

    Position 0 of a text, and the class token of a network of images, is a class of its own: there
    units may have activations a thousand times larger than at any other position (Sun et al. 2024,
    arXiv 2402.17762). Sites that have no such position (maps, patches without a class token, and
    pool ``none``, where each position of a unit is a unit) have one class, and the same moments in
    both vectors.

    Parameters
    ----------
    layout
        The sites.
    mean, sd
        ``(unit,)``, over all positions but the first; signed, in the model's activation units.
    mean_first, sd_first
        ``(unit,)``, over first positions.

    Raises
    ------
    MaskError
        If a vector has not one value per unit of the layout.
    """

    layout: Layout
    mean: Vector
    sd: Vector
    mean_first: Vector
    sd_first: Vector

    def __post_init__(self) -> None:
        for name, vector in self.vectors.items():
            if vector.shape != (self.layout.n_units,):
                raise MaskError(
                    f"{name} has {vector.size} values but the layout has {self.layout.n_units} "
                    f"units over {len(self.layout.sites)} sites"
                )

    @property
    def vectors(self) -> dict[str, Vector]:
        """The four vectors by name."""
        named = {"mean": self.mean, "sd": self.sd}
        return named | {"mean_first": self.mean_first, "sd_first": self.sd_first}

    @property
    def has_classes(self) -> bool:
        """Whether any unit has other moments at the first position."""
        same = np.array_equal(self.mean, self.mean_first) and np.array_equal(self.sd, self.sd_first)
        return not same
