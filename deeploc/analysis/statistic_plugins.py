"""Statistics that are plugins: from one function to what units are ranked by."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int

from deeploc import entry_points
from deeploc.core.permutation import Labellings, Maxima
from deeploc.core.stats import Vector
from deeploc.entry_points import Plugin
from deeploc.errors import PluginError

Sample = Float64[np.ndarray, "_ unit"]
"""Responses of some stimuli, one row for each."""

Matrix = Float64[np.ndarray, "stimulus unit"]


@runtime_checkable
class ComparesSamples(Protocol):
    """A plugin of the group ``statistics``: compares two samples, unit by unit."""

    def __call__(self, positive: Sample, negative: Sample, /) -> Vector:
        """Return one value per unit, ``(unit,)``: larger where a unit prefers the positive side.

        It is given some of the units at a time, so that no unit's value may depend on another's.
        nan is for a unit that cannot be compared; it is never selected.

        Parameters
        ----------
        positive, negative
            ``(stimulus, unit)``: the responses to the stimuli of either side, as the contrast
            counts them (signed or absolute).
        """
        ...


def compared(name: str, samples: Sequence[Sample]) -> Vector:
    """Return the statistic of a plugin, of the first sample against each of the others.

    With several others the smallest counts, as with every statistic under ``against: each``.

    Parameters
    ----------
    name
        The plugin.
    samples
        The responses of every sample.

    Raises
    ------
    PluginError
        If there is no such plugin, it fails, or what it returns is not one number per unit.
    """
    return _smallest(entry_points.find("deeploc.statistics", name), samples)


def check_compared(name: str, values: Vector, d: Vector) -> None:
    """Refuse a statistic that compares no unit where there are units to compare.

    Parameters
    ----------
    name
        The plugin.
    values
        What it made of every unit.
    d
        Cohen's d of the same units, nan where a unit cannot be compared.

    Raises
    ------
    PluginError
        If every value is nan.
    """
    if np.isnan(values).all() and not np.isnan(d).all():
        title = entry_points.find("deeploc.statistics", name).title
        raise PluginError(
            f"{title} returned nan for each of the {values.size:,} units; it must return a number "
            "for every unit that can be compared"
        )


def permuted(
    name: str, labels: Labellings, rows: Int[np.ndarray, " _"]
) -> Callable[[Matrix], Maxima]:
    """Return what turns responses into the largest statistic under every labelling.

    A plugin tells nothing that could be computed once for all labellings: it is called for each.

    Parameters
    ----------
    name
        The plugin.
    labels
        The sample of every stimulus that is compared, labelling by labelling.
    rows
        The numbers of these stimuli.
    """
    plugin = entry_points.find("deeploc.statistics", name)

    def maxima(responses: Matrix) -> Maxima:
        response = responses[rows].astype(np.float64)
        largest = np.full(len(labels), -np.inf)
        for number, label in enumerate(labels):
            samples = [response[label == sample] for sample in range(label.max() + 1)]
            values = _smallest(plugin, samples)
            largest[number] = values.max(where=~np.isnan(values), initial=-np.inf)
        return largest

    return maxima


def _smallest(plugin: Plugin, samples: Sequence[Sample]) -> Vector:
    """Return the values of the first sample against each of the others, the smallest counts."""
    smallest: Vector = np.min([_values(plugin, samples[0], other) for other in samples[1:]], axis=0)
    return smallest


def _values(plugin: Plugin, positive: Sample, negative: Sample) -> Vector:
    statistic: ComparesSamples = plugin.load()
    with plugin.guarded(), np.errstate(all="ignore"):  # a unit that is not finite is nan
        made = statistic(positive, negative)
    try:
        values = np.asarray(made)
    except Exception:  # what NumPy makes nothing of may raise anything
        values = np.empty(0)
    shape = positive.shape[1:]
    if values.shape != shape or values.dtype.kind not in "fiub":
        raise plugin.wrong(made, f"one number per unit, an array of shape {shape}")
    return values.astype(np.float64, copy=False)
