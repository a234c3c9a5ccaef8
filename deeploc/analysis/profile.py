"""The response profile: selected units, random ones and all, condition by condition."""

from collections.abc import Mapping, Sequence

import numpy as np

from deeploc.analysis.comparing import compare, of_responses
from deeploc.analysis.group_means import GroupMeans, Stimuli, read_group_means
from deeploc.contrast.model import Contrast
from deeploc.core import stats
from deeploc.core.adapter import Adapter
from deeploc.core.adapter_plugins import ActivationSource
from deeploc.core.responses import UNITS, Preference, Profile, Response
from deeploc.core.stats import Moments
from deeploc.core.units import StatMap, UnitMask
from deeploc.progress import OnProgress, ignore_progress


def profile(
    adapter: Adapter,
    contrast: Contrast,
    stat_map: StatMap,
    mask: UnitMask,
    stimuli: Stimuli,
    *,
    counts: Mapping[str, int],
    seed: int = 0,
    readings: ActivationSource | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Profile:
    """Return how the selected units of each kind of site respond to every condition.

    For each of ``stimuli`` the response is averaged over the selected units of a kind, over as
    many matched random units (the mask of the control ``random-0`` with the same ``seed``) and
    over all units of the kind. A condition's value is the mean of these over its stimuli, its
    interval that of Student's t.

    Units differ in scale by orders of magnitude, so that a plain mean is that of the largest.
    ``z`` therefore counts each unit in its own standard deviations over all localizing stimuli
    (`group_means.unit_scale`), and the contrast is tested on z: Welch's t, of paired stimuli
    theirs. Units that did not vary while localizing have no z and are left out of its mean. Batches
    are reduced to means as they are read.

    Parameters
    ----------
    adapter
        The model.
    contrast
        Its conditions, comparison and read-out.
    stat_map
        The statistics of the units.
    mask
        The selected units.
    stimuli
        Condition -> the stimuli whose responses are measured; those that did not localize, where
        the contrast is split.
    counts
        Condition -> how many stimuli localized.
    seed
        Of the random units.
    readings
        Where activations are read from; default the adapter itself.
    on_progress
        Called with the number of stimuli of each batch.

    Raises
    ------
    AdapterError
        If the model cannot read the stimuli.
    """
    groups = read_group_means(
        *(adapter, contrast, stat_map, mask, stimuli),
        counts=counts,
        seed=seed,
        readings=readings,
        on_progress=on_progress,
    )
    return profile_of(contrast, groups)


def profile_of(contrast: Contrast, groups: GroupMeans) -> Profile:
    """Return the response profile that the means of every stimulus amount to.

    Parameters
    ----------
    contrast
        Its conditions and comparison.
    groups
        The means.
    """
    responses = _responses(groups.kinds, groups.by_condition.moments)
    return Profile(contrast.split == "half", responses, _tests(contrast, groups.kinds, groups))


def _responses(kinds: Sequence[str], moments: Mapping[str, Moments]) -> list[Response]:
    shape = (len(kinds), len(UNITS), 2)
    bounds = {name: (m.mean, *stats.t_interval(m)) for name, m in moments.items()}
    ends = {name: np.stack([v.reshape(shape) for v in b], axis=-1) for name, b in bounds.items()}
    return [
        Response(kind, name, units, moments[name].count, *ends[name][k, u].ravel().tolist())
        for k, kind in enumerate(kinds)
        for u, units in enumerate(UNITS)
        for name in moments
    ]


def _tests(contrast: Contrast, kinds: Sequence[str], reduced: GroupMeans) -> list[Preference]:
    """Return the contrast tested on the mean z of every group: Welch's t, or that of the pairs.

    A mean over units is close to normal, so that a rank test would gain nothing; d' and the
    selectivity index have no test of their own.
    """
    moments, groups = reduced.by_condition.moments, reduced.by_condition.groups
    rows = {name: groups.rows(name) for name in contrast.paired}
    if rows and min(map(len, rows.values())) > 1:
        t, df, _, d = of_responses(contrast, reduced.means, rows)
    else:
        t, df, d = compare(contrast, moments)
    tests = np.stack([t, df, stats.two_sided_p(t, df), d], axis=-1)
    of_z = tests.reshape(len(kinds), len(UNITS), 2, 4)[:, :, 1]
    return [
        Preference(kind, units, *of_z[k, u].tolist())
        for k, kind in enumerate(kinds)
        for u, units in enumerate(UNITS)
    ]
