"""Localize in an untrained copy of a model, to see whether it has such units too."""

from deeploc.analysis.activation_cache import Readings
from deeploc.analysis.localization import localize
from deeploc.analysis.profile import profile
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.reliability import split_halves
from deeploc.analysis.select_units import select_units
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.readout import Readout
from deeploc.core.resampling import Halves
from deeploc.core.responses import Preference
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.core.untrained import KindUntrained
from deeploc.errors import AdapterError
from deeploc.progress import OnProgress, ignore_progress
from deeploc.stimuli import StimulusSets


def localize_untrained(
    copy: Adapter,
    contrast: Contrast,
    stimuli: StimulusSets,
    *,
    seed: int = 0,
    on_progress: OnProgress = ignore_progress,
) -> list[KindUntrained]:
    """Return what the contrast selects in an untrained copy, and how far that holds.

    The copy is localized on the same stimuli, with the same read-out and the same rule of selection
    as the model itself, its own units are tested on the same held-out stimuli, and the same halves
    of the localizing ones are compared. These are the numbers of a run of the copy on its own.
    Activations are kept meanwhile, beside those of the model itself, within the same limits.

    Parameters
    ----------
    copy
        The untrained copy.
    contrast
        Its comparison, read-out and selection.
    stimuli
        Those that localize, and those that do not.
    seed
        The seed of the run.
    on_progress
        Called with the number of stimuli of each batch.

    Raises
    ------
    AdapterError
        If the copy cannot be read, or too few of its units have statistics to select from.
    """
    reading = _Copy(copy, contrast, stimuli, seed)
    stat_map = reading.localized(on_progress)
    try:
        mask = select_units(stat_map, contrast.select)
    except ValueError as error:
        raise AdapterError(f"nothing can be selected in an untrained copy: {error}") from None
    halves = reading.halves(stat_map.layout)
    preferences = reading.preferences(stat_map, mask, on_progress)
    return [
        KindUntrained(kind, len(mask.of_kind(kind)), preferences.get(kind), halves.get(kind))
        for kind in mask.layout.kinds
    ]


class _Copy:
    """An untrained copy and the stimuli that it is shown."""

    def __init__(
        self, adapter: Adapter, contrast: Contrast, stimuli: StimulusSets, seed: int
    ) -> None:
        self._adapter = adapter
        self._contrast = contrast
        self._stimuli = stimuli
        self._seed = seed
        self._localizing = ByCondition.of(list(contrast.conditions), stimuli.localizing).stimuli
        self._readings = Readings(adapter, [self._localizing])

    def localized(self, on_progress: OnProgress) -> StatMap:
        """Return the statistics of every unit."""
        return localize(
            self._adapter,
            self._contrast,
            self._stimuli.localizing,
            seed=self._seed,
            readings=self._readings,
            on_progress=on_progress,
        )

    def halves(self, layout: Layout) -> dict[str, Halves]:
        """Return how well two halves agree, nothing where they cannot be compared."""
        readout = Readout.of(self._contrast.read)
        values = self._readings.matrix(self._localizing, layout, readout)
        if values is None:
            return {}
        stimuli, seed = self._stimuli.localizing, self._seed
        try:
            return split_halves(self._contrast, layout, stimuli, values, seed=seed)
        except ValueError:  # too few stimuli, or too few units with a t
            return {}

    def preferences(
        self, stat_map: StatMap, mask: UnitMask, on_progress: OnProgress
    ) -> dict[str, Preference]:
        """Return the test of the selected units on stimuli that were held out, if any were."""
        if self._contrast.split == "none":
            return {}
        measured = profile(
            self._adapter,
            self._contrast,
            stat_map,
            mask,
            self._stimuli.held_out,
            counts={name: len(group) for name, group in self._stimuli.localizing.items()},
            seed=self._seed,
            on_progress=on_progress,
        )
        return {kind: measured.preference(kind, "selected") for kind in mask.layout.kinds}
