"""The stage that looks for the stimuli that drive the selected units most and least."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

from deeploc.analysis.driving import (
    driving_stimuli,
    shown_stimuli,
    with_maps,
    with_words,
)
from deeploc.core.driving import N_SHOWN, DrivingStimuli, distinct, to_csv
from deeploc.core.pictures import pictures_of
from deeploc.runs.driving_file import PICTURES, TABLE, driving_parts
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import ProfileStage
from deeploc.runs.run import Run
from deeploc.runs.saving import Content, Save
from deeploc.runs.stages import remove
from deeploc.stimuli import Stimulus
from deeploc.stimuli.thumbnail import THUMBNAIL_SIDE, thumbnail


class DrivingStage:
    """Orders the held-out stimuli by the mean z of the selected units, and keeps both ends.

    The order is that of the means which the profile is made from; no stimulus is read again for
    it. Of images, those that are kept are read once more, at every position.
    """

    name: ClassVar[str] = "driving"
    files: ClassVar[tuple[str, ...]] = (TABLE, PICTURES)
    needs: ClassVar[tuple[str, ...]] = ("localize", "select")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the profile, and how much is kept."""
        return {**ProfileStage().inputs(run), "kept": N_SHOWN, "pixels": THUMBNAIL_SIDE}

    def make(self, run: Run, save: Save) -> None:
        """Order the stimuli."""
        driving = driving_stimuli(run.group_means, run.mask)
        stimuli = shown_stimuli(run.group_means, driving)
        files: dict[str, Content] = {}
        if run.contrast.modality == "image":
            driving = _with_pictures(run, driving, stimuli)
            files[PICTURES] = driving_parts(driving, run.layout)
        else:
            driving = with_words(driving, stimuli, run.adapter, run.contrast)
        files[TABLE] = to_csv(driving.rows)
        save(files, {"kinds": [asdict(kind) for kind in driving.kinds]})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the table, the maps and the pictures."""
        remove(folder, DrivingStage.files)


def _with_pictures(run: Run, driving: DrivingStimuli, stimuli: list[Stimulus]) -> DrivingStimuli:
    units = run.mask, run.group_means.unit_groups.scale
    n_localizing = sum(map(len, run.stimuli.localizing.values()))
    with run.reporter.progress("mapping responses", len(set(stimuli))) as on_progress:
        mapped = with_maps(
            *(driving, stimuli, run.adapter, run.contrast, units),
            n_localizing=n_localizing,
            on_progress=on_progress,
        )
    by_name = {
        (row.condition, row.stimulus): stimulus
        for row, stimulus in zip(driving.rows, stimuli, strict=True)
    }
    order = distinct(driving.rows)
    pictures = pictures_of(run.adapter, [by_name[name] for name in order])
    return replace(mapped, pictures=dict(zip(order, map(thumbnail, pictures), strict=True)))
