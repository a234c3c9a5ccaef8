"""Contrast in, statistic per unit out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeploc.analysis.activation_cache import Readings, not_kept
from deeploc.analysis.comparing import (
    UnitStatistics,
    adjusted,
    needs_activations,
    of_moments,
)
from deeploc.analysis.reading import (
    ByCondition,
    ConditionMoments,
    OverallMean,
    Values,
    read_into,
)
from deeploc.analysis.responses import of_activations
from deeploc.analysis.statistic_plugins import check_compared
from deeploc.contrast.model import Contrast
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.core.adapter import Adapter
from deeploc.core.adapter_plugins import ActivationSource
from deeploc.core.naming import choose_sites
from deeploc.core.readout import Readout
from deeploc.core.stats import Moments
from deeploc.core.units import Layout, StatMap
from deeploc.errors import ContrastError
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus, load, split_half


def localize(
    adapter: Adapter,
    contrast: Contrast,
    stimuli: Mapping[str, Sequence[Stimulus]] | None = None,
    *,
    seed: int = 0,
    readings: Readings | None = None,
    on_progress: OnProgress = ignore_progress,
) -> StatMap:
    """Return how strongly every unit prefers one side of ``contrast`` over the other.

    Activations are streamed: memory does not grow with the number of stimuli, except for a
    statistic that takes every single one (``paired``, ``mann-whitney``, those of plugins).

    Parameters
    ----------
    adapter
        The model.
    contrast
        Its conditions, comparison and read-out.
    stimuli
        Condition -> its stimuli. By default the contrast's own are loaded and, with
        ``split: half``, the half that localizes is taken, both with ``seed``.
    seed
        Of sampling and splitting the stimuli.
    readings
        Where activations are read from and kept; default the adapter itself.
    on_progress
        Called with the number of stimuli of each batch.

    Raises
    ------
    ContrastError
        If a condition of the contrast is missing or has fewer than two stimuli, paired ones differ
        in their number, or the statistic needs all activations and there is no room for them.
    AdapterError
        If the model lacks the sites or cannot read the stimuli.
    """
    if stimuli is None:
        stimuli = load(contrast, seed=seed)
        if contrast.split == "half":
            stimuli, _ = split_half(stimuli, seed, contrast.paired)
    check_counts(contrast, stimuli)
    layout = layout_of(adapter, contrast)
    groups = ByCondition.of(list(contrast.conditions), stimuli)
    values = None
    if needs_activations(contrast):
        readings = readings or Readings(adapter, [groups.stimuli])
        values = _every_activation(readings, contrast, groups, layout, on_progress)
        on_progress = ignore_progress  # all is read
    read = read_moments(readings or adapter, contrast, groups, layout, on_progress=on_progress)
    if values is None:
        return stat_map_of(contrast, layout, read)
    return stat_map_of(contrast, layout, read, _of_every_activation(contrast, values, groups))


@dataclass
class ReadMoments:
    """What the statistics of units are computed from, of some of the stimuli.

    Parameters
    ----------
    conditions
        Condition -> moments of the response.
    signed, absolute
        The mean activation over all stimuli, as it is and absolute.
    """

    conditions: dict[str, Moments]
    signed: OverallMean
    absolute: OverallMean

    def merged(self, other: "ReadMoments") -> "ReadMoments":
        """Return those of both groups of stimuli taken as one.

        Parameters
        ----------
        other
            Of other stimuli, at the same units.
        """
        conditions = {name: m.merged(other.conditions[name]) for name, m in self.conditions.items()}
        signed, absolute = self.signed.merged(other.signed), self.absolute.merged(other.absolute)
        return ReadMoments(conditions, signed, absolute)


def read_moments(
    source: ActivationSource,
    contrast: Contrast,
    groups: ByCondition,
    layout: Layout,
    *,
    on_progress: OnProgress = ignore_progress,
) -> ReadMoments:
    """Read stimuli, and return the moments of every unit.

    Parameters
    ----------
    source
        The model.
    contrast
        Its read-out.
    groups
        The stimuli.
    layout
        The sites that are read.
    on_progress
        Called with the number of stimuli of each batch.

    Raises
    ------
    AdapterError
        If the model cannot read the stimuli.
    """
    by_condition = ConditionMoments(groups, layout.n_units, contrast.read.response == "abs")
    signed, absolute = OverallMean(layout.n_units), OverallMean(layout.n_units, absolute=True)
    read_into(
        [signed, absolute, by_condition],
        source,
        groups.stimuli,
        layout,
        Readout.of(contrast.read),
        on_progress=on_progress,
    )
    return ReadMoments(by_condition.moments, signed, absolute)


def stat_map_of(
    contrast: Contrast, layout: Layout, read: ReadMoments, computed: UnitStatistics | None = None
) -> StatMap:
    """Return the statistics of every unit; the moments are used up.

    Parameters
    ----------
    contrast
        Its comparison and its correction for many units.
    layout
        The sites that were read.
    read
        The moments of the stimuli.
    computed
        The contrast's statistic; default: that of the moments.
    """
    moments = read.conditions
    computed = computed or of_moments(contrast, moments)
    means = {name: m.mean for name, m in moments.items()}
    sds = {name: moments.pop(name).sd for name in list(moments)}  # each frees what it replaces
    vectors = {**computed._asdict(), "q": adjusted(layout, computed.p, contrast.select.correction)}
    baseline = np.nan_to_num(read.signed.mean)  # so that mean ablation silences a non-finite unit
    vectors |= {"baseline": baseline, "magnitude": read.absolute.mean}
    return StatMap(layout, **vectors, means=means, sds=sds)


def _of_every_activation(contrast: Contrast, values: Values, groups: ByCondition) -> UnitStatistics:
    """Return the statistic of every unit; what a plugin returns is checked."""
    rows = {name: groups.rows(name) for name in groups.names}
    computed = of_activations(contrast, values, rows)
    if contrast.statistic not in STATISTICS:
        check_compared(contrast.statistic, computed.t, computed.d)
    return computed


def _every_activation(
    readings: Readings,
    contrast: Contrast,
    groups: ByCondition,
    layout: Layout,
    on_progress: OnProgress,
) -> Values:
    """Return the activations of all stimuli, or refuse the statistic that takes them."""
    readout = Readout.of(contrast.read)
    values = readings.matrix(groups.stimuli, layout, readout, on_progress=on_progress)
    if values is None:
        why = not_kept(len(groups.stimuli) * layout.n_units)
        text = f"{contrast.statistic} takes every activation; {why}; or write `statistic: welch`"
        raise contrast.error_at(("statistic",), text)
    return values


def layout_of(adapter: Adapter, contrast: Contrast) -> Layout:
    """Return the sites of a model that the contrast reads, and the units it counts there.

    Parameters
    ----------
    adapter
        The model.
    contrast
        Its read-out: ``sites``, and pool ``none``, where every position of a unit counts.

    Raises
    ------
    AdapterError
        If the model lacks the sites, or positions are units and their number is not fixed.
    """
    layout = choose_sites(adapter, contrast.read.sites)
    return layout.per_position() if contrast.read.pool == "none" else layout


def check_counts(contrast: Contrast, stimuli: Mapping[str, Sequence[Stimulus]]) -> None:
    """Refuse a condition with fewer than two stimuli to localize with, or without its partners.

    Parameters
    ----------
    contrast
        Its conditions.
    stimuli
        Condition -> the stimuli that localize.

    Raises
    ------
    ContrastError
        Naming the condition.
    """
    for condition in contrast.conditions:
        n = len(stimuli.get(condition, ()))
        if n < 2:
            raise ContrastError(
                f"condition {condition!r} has {n} stimuli to localize with; a variance needs at "
                "least two; add stimuli, raise --limit, or set `split: none`"
            )
    counts = {name: len(stimuli[name]) for name in contrast.paired}
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        raise ContrastError(
            f"paired stimuli come in equal numbers, but there are {numbers}; make them equal, or "
            "write `statistic: welch`"
        )
