"""The loss of a contrast: what the attribution of its units is about."""

from collections.abc import Mapping, Sequence

from deeploc.contrast.model import Contrast
from deeploc.core.attribution import Term
from deeploc.stimuli import Stimulus


def contrast_terms(contrast: Contrast, stimuli: Mapping[str, Sequence[Stimulus]]) -> list[Term]:
    """Return the mean loss of the positive side of a contrast minus that of its negative side.

    The loss of a text is the negative log-probability per token (nats), that of an image the cross
    entropy of the class that the intact model finds most probable. Each side is the mean over its
    stimuli; in the weighted form it is the weighted sum of the means of the conditions. A unit
    that the positive side needs more than the negative one has a positive attribution.

    Parameters
    ----------
    contrast
        Its comparison.
    stimuli
        Condition -> stimuli.
    """
    sides = contrast.comparison
    groups: list[tuple[Sequence[str], float]] = [(sides.positive, 1.0), (sides.negative, -1.0)]
    if sides.weights is not None:
        groups = [([name], weight) for name, weight in sides.weights.items()]
    terms = []
    for names, weight in groups:
        group = [stimulus for name in names for stimulus in stimuli[name]]
        terms += [Term(stimulus, weight / len(group)) for stimulus in group]
    return terms
