"""Which stimuli drive the selected units most and least, and where in an image they do."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from deeploc.analysis.group_means import GroupMeans
from deeploc.analysis.response_maps import kind_maps, read_maps, why_no_map
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, Tokenizes
from deeploc.core.driving import ENDS, N_SHOWN, Driven, DrivingStimuli, DrivingStimulus, ends_of
from deeploc.core.naming import choose_sites
from deeploc.core.pictures import ShowsPictures
from deeploc.core.positions import ReadsPositions
from deeploc.core.readout import Readout
from deeploc.core.stats import Vector
from deeploc.core.units import UnitMask
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import Stimulus

_SHARE, _ALWAYS = 20, 4 * N_SHOWN
"""At most a twentieth of as many images as localize are read at every position, so that this costs
no more than 5 % of localizing; of few images, as many as two kinds of site show."""


def driving_stimuli(groups: GroupMeans, mask: UnitMask) -> DrivingStimuli:
    """Return the stimuli at both ends of the order by mean z, without pictures or maps.

    Parameters
    ----------
    groups
        The mean z of the selected units of every stimulus, as for the response profile.
    mask
        The selected units.
    """
    kinds: list[Driven] = []
    rows: list[DrivingStimulus] = []
    for kind in groups.kinds:
        z = groups.z_of_selected(kind)
        n = int(np.count_nonzero(np.isfinite(z)))
        if n:
            kinds.append(Driven(kind, n, len(mask.of_kind(kind))))
            rows += _rows(groups, kind, z)
    return DrivingStimuli(kinds, rows)


def shown_stimuli(groups: GroupMeans, driving: DrivingStimuli) -> list[Stimulus]:
    """Return the stimulus of every row.

    Parameters
    ----------
    groups
        From which the rows were made.
    driving
        The rows.
    """
    by_name = groups.by_condition.groups
    known = {
        (by_name.names[owner], stimulus.id): stimulus
        for owner, stimulus in zip(by_name.owners, by_name.stimuli, strict=True)
    }
    return [known[row.condition, row.stimulus] for row in driving.rows]


def with_words(
    driving: DrivingStimuli, stimuli: Sequence[Stimulus], adapter: Adapter, contrast: Contrast
) -> DrivingStimuli:
    """Return the same with what is read of each text, where the adapter tells.

    Parameters
    ----------
    driving
        Texts.
    stimuli
        That of every row.
    adapter
        The model; it tells if it is one that `Tokenizes`, with a tokenizer that has offsets.
    contrast
        Its read-out.
    """
    readout = Readout.of(contrast.read)
    told = None
    if isinstance(adapter, Tokenizes) and stimuli:
        told = adapter.tokenization(stimuli, readout).read
    if told is None:
        return driving
    rows = [
        replace(row, read_from=start, read_to=end)
        for row, (start, end) in zip(driving.rows, told, strict=True)
    ]
    return replace(driving, rows=rows)


def with_maps(
    driving: DrivingStimuli,
    stimuli: Sequence[Stimulus],
    adapter: Adapter,
    contrast: Contrast,
    units: tuple[UnitMask, tuple[Vector, Vector]],
    *,
    n_localizing: int,
    on_progress: OnProgress = ignore_progress,
) -> DrivingStimuli:
    """Return the same with maps of the images, where the adapter can show positions.

    Where kinds of site differ in their images, so that these are too many to be read once more, the
    outermost of each kind are, those that drive units most before those that do so least.

    Parameters
    ----------
    driving
        Images.
    stimuli
        That of every row.
    adapter
        The model.
    contrast
        Its read-out.
    units
        The selected units, and mean and standard deviation of all.
    n_localizing
        How many images localized.
    on_progress
        Called as images are read.

    Raises
    ------
    AdapterError
        If an image cannot be read.
    """
    mask, scale = units
    readout = Readout.of(contrast.read)
    layout = choose_sites(adapter, contrast.read.sites)
    makers = {} if readout.pool == "cls" else kind_maps(layout, mask, scale, readout)
    maps = {}
    if isinstance(adapter, ReadsPositions) and isinstance(adapter, ShowsPictures) and makers:
        shown = {
            kind: [s for s, row in zip(stimuli, driving.rows, strict=True) if row.sites == kind]
            for kind in makers
        }
        read = _first_of_all(driving, stimuli, max(n_localizing // _SHARE, _ALWAYS))
        maps = read_maps(adapter, makers, shown, read, readout, on_progress=on_progress)
    kinds = [
        replace(
            each,
            n_placed=makers[each.sites].n_units if each.sites in maps else 0,
            missing=why_no_map(adapter, readout.pool, makers, each.sites),
        )
        for each in driving.kinds
    ]
    return replace(driving, kinds=kinds, maps=maps)


def _first_of_all(
    driving: DrivingStimuli, stimuli: Sequence[Stimulus], most: int
) -> list[Stimulus]:
    """Return the images that are read, each once."""
    place: dict[tuple[str, str], int] = {}
    order: list[tuple[int, int, int, Stimulus]] = []
    for row, stimulus in zip(driving.rows, stimuli, strict=True):
        nth = place[row.sites, row.end] = place.get((row.sites, row.end), -1) + 1
        order.append((ENDS.index(row.end), nth, len(order), stimulus))
    in_order = [stimulus for *_, stimulus in sorted(order, key=lambda each: each[:3])]
    return list(dict.fromkeys(in_order))[:most]


def _rows(groups: GroupMeans, kind: str, z: Vector) -> Iterator[DrivingStimulus]:
    by_name = groups.by_condition.groups
    n = int(np.count_nonzero(np.isfinite(z)))
    for end, order in ends_of(z).items():
        for place, number in enumerate(order.tolist()):
            stimulus = by_name.stimuli[number]
            text = stimulus.content if isinstance(stimulus.content, str) else ""
            rank = place + 1 if end == "most" else n - place
            condition = by_name.names[by_name.owners[number]]
            yield DrivingStimulus(
                kind, end, rank, condition, stimulus.id, float(z[number]), text=text
            )
