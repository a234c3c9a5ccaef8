"""How far apart the two sides of a contrast are at every unit: what mode ``add`` adds."""

from collections.abc import Mapping, Sequence

import numpy as np

from deeploc.analysis.reading import ByCondition, ConditionMoments, read_into
from deeploc.contrast.model import Contrast
from deeploc.core.adapter_plugins import ActivationSource
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Vector
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

StimuliByCondition = Mapping[str, Sequence[Stimulus]]


def is_known(contrast: Contrast, layout: Layout) -> bool:
    """Return whether statistics of the contrast hold its signed means.

    Parameters
    ----------
    contrast
        Its read-out: with ``response: abs`` they hold means of absolute activations.
    layout
        The sites: of units that are several scalars they hold means of one number.
    """
    return contrast.read.response == "signed" and all(site.width == 1 for site in layout.sites)


def mean_difference(
    contrast: Contrast, means: Mapping[str, Vector], stimuli: StimuliByCondition
) -> Vector:
    """Return the mean of the preferred side minus that of the other, per scalar of every unit.

    In the model's own activation units: the difference of means whose addition steers a model
    (Turner et al. 2023, arXiv 2308.10248; Rimsky et al. 2024, doi:10.18653/v1/2024.acl-long.828).
    The conditions of a side count by their stimuli, as in t; with weights by their weights, of
    which the positive ones are made to sum to 1. A unit with a non-finite activation has 0.

    Parameters
    ----------
    contrast
        Its comparison.
    means
        Condition -> mean signed activation, ``(scalar,)``.
    stimuli
        Condition -> the stimuli that the means are over.
    """
    weights = _weights(contrast, {name: len(group) for name, group in stimuli.items()})
    with np.errstate(invalid="ignore"):
        difference = np.sum([weight * means[name] for name, weight in weights.items()], axis=0)
    return np.where(np.isfinite(difference), difference, 0.0)


def read_difference(
    contrast: Contrast,
    stimuli: StimuliByCondition,
    layout: Layout,
    source: ActivationSource,
    *,
    on_progress: OnProgress = ignore_progress,
) -> Vector:
    """Return `mean_difference` of signed activations, read as the localizer reads them.

    Parameters
    ----------
    contrast
        Its comparison and read-out.
    stimuli
        Condition -> the stimuli that localize.
    layout
        The sites that it reads, with each scalar as a unit.
    source
        The model, or what is kept of its activations.
    on_progress
        Called with the number of stimuli of each batch.
    """
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    signed = ConditionMoments(groups, layout.n_units)
    readout = Readout.of(contrast.read)
    read_into([signed], source, groups.stimuli, layout, readout, on_progress=on_progress)
    means = {name: moments.mean for name, moments in signed.moments.items()}
    return mean_difference(contrast, means, stimuli)


def _weights(contrast: Contrast, counts: Mapping[str, int]) -> dict[str, float]:
    """Return condition -> what its mean is multiplied by."""
    sides = contrast.comparison
    if sides.weights is not None:
        total = sum(weight for weight in sides.weights.values() if weight > 0)
        return {name: weight / total for name, weight in sides.weights.items()}
    signs = ((sides.positive, 1.0), (sides.negative, -1.0))
    return {
        name: sign * counts[name] / sum(counts[other] for other in names)
        for names, sign in signs
        for name in names
    }
