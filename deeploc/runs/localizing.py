"""The stages that find units: audit, localize, select, profile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from deeploc.analysis import confounds
from deeploc.analysis.audit import audit_stimuli
from deeploc.analysis.localization import localize
from deeploc.analysis.nothing_selected import too_few_vary
from deeploc.analysis.profile import profile_of
from deeploc.analysis.select_units import select_units
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.contrast.selecting import Select
from deeploc.core.responses import to_csv
from deeploc.core.units import StatMap, UnitMask
from deeploc.runs.files import (
    hash_of,
    mask_parts,
    statmap_parts,
    units_csv,
)
from deeploc.runs.folder import RunFolder
from deeploc.runs.mask_files import read_mask
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import remove
from deeploc.runs.used_plugins import adapter_of, identity_of
from deeploc.stimuli import Stimulus
from deeploc.stimuli.stimulus import content_hash


class AuditStage:
    """Counts what the contrast shows the model, before the first forward pass."""

    name: ClassVar[str] = "audit"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the model, the stimuli and how they are compared and read."""
        thresholds = (confounds.LARGE_SHARE, confounds.MEDIUM_EFFECT, confounds.GREY_LEVEL)
        held_out = _hashes(run.stimuli.held_out)
        return {**shared_inputs(run), "held-out stimuli": held_out, "thresholds": thresholds}

    def make(self, run: Run, save: Save) -> None:
        """Count."""
        save({}, audit_stimuli(run.contrast, run.stimuli, run.adapter).to_json())

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""


Localizer = Callable[[Run], StatMap]
"""Computes the statistics of every unit of a run."""


@dataclass(frozen=True)
class LocalizeStage:
    """Computes the statistics of every unit.

    Parameters
    ----------
    localizer
        Computes them in another way, e.g. on several machines; None: with the model of the run.
    """

    localizer: Localizer | None = None

    name: ClassVar[str] = "localize"
    files: ClassVar[tuple[str, ...]] = ("statmap.safetensors",)
    needs: ClassVar[tuple[str, ...]] = ()
    algorithm: ClassVar[int] = 2
    protected: ClassVar[bool] = True

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the model, the stimuli, how they are compared and read, and the seed."""
        rule, default = run.contrast.select, Select().correction
        correction = {} if rule.correction == default else {"correction": rule.correction}
        return {**shared_inputs(run), **correction, "seed": run.setup.seed}

    def make(self, run: Run, save: Save) -> None:
        """Read the stimuli that localize."""
        stat_map = (self.localizer or _localized)(run)
        constant = np.all([sd == 0 for sd in stat_map.sds.values()], axis=0)
        counts = {
            "n_units": stat_map.layout.n_units,
            "constant_units": int(constant.sum()),
            "nonfinite_units": int(np.isnan(stat_map.t).sum()),
        }
        save({"statmap.safetensors": statmap_parts(stat_map)}, counts)

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the statistics."""
        remove(folder, LocalizeStage.files)


def _localized(run: Run) -> StatMap:
    n = sum(map(len, run.stimuli.localizing.values()))
    with run.reporter.progress("localizing", n) as on_progress:
        return localize(
            run.adapter,
            run.contrast,
            run.stimuli.localizing,
            seed=run.setup.seed,
            readings=run.readings,
            on_progress=on_progress,
        )


@dataclass(frozen=True)
class SelectStage:
    """Selects units by the contrast's own rule, or takes them from a mask of another tool.

    Parameters
    ----------
    imported
        A ``(layers, hidden)`` 0/1 ``.npy`` mask over block outputs; None: the contrast's rule.
    """

    imported: Path | None = None

    name: ClassVar[str] = "select"
    files: ClassVar[tuple[str, ...]] = ("mask.safetensors", "units.csv")
    needs: ClassVar[tuple[str, ...]] = ("localize", "ranking")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the rule, or the hash of the imported mask."""
        if self.imported is not None:
            return {"imported": hash_of(self.imported)}
        return {"select": rule_of(run.contrast.select)}

    def make(self, run: Run, save: Save) -> None:
        """Select."""
        mask = self._mask(run)
        for line in too_few_vary(run.stat_map, mask, run.contrast.select):
            run.reporter.note(line)
        counts = {kind: len(mask.of_kind(kind)) for kind in mask.layout.kinds}
        units = units_csv(mask, run.stat_map)
        save({"mask.safetensors": mask_parts(mask), "units.csv": units}, {"selected": counts})

    def _mask(self, run: Run) -> UnitMask:
        if self.imported is not None:
            return read_mask(self.imported, run.stat_map.layout)
        try:
            return select_units(run.stat_map, run.contrast.select)
        except ValueError as error:
            raise run.contrast.error_at(("select",), str(error)) from None

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the mask and the table of units."""
        remove(folder, SelectStage.files)


class ProfileStage:
    """Measures how the selected units respond to every condition, held out where possible."""

    name: ClassVar[str] = "profile"
    files: ClassVar[tuple[str, ...]] = ("profile.csv",)
    needs: ClassVar[tuple[str, ...]] = ("localize", "select")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the statistics, and how the held-out stimuli were held out.

        A model with other weights may have the same statistics and respond otherwise to these.
        """
        held_out = _hashes(run.stimuli.held_out)
        shared = {**shared_inputs(run), "seed": run.setup.seed}
        return {**shared, "held-out stimuli": held_out, "split": run.contrast.split}

    def make(self, run: Run, save: Save) -> None:
        """Read the held-out stimuli."""
        made = profile_of(run.contrast, run.group_means)
        save({"profile.csv": to_csv(made.responses)}, made.to_json())

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the profile."""
        remove(folder, ProfileStage.files)


def shared_inputs(run: Run) -> dict[str, Any]:
    """Return what decides the responses to the localizing stimuli, and how they are compared.

    Parameters
    ----------
    run
        The run, as it would be made now.
    """
    resolved = run.contrast.to_json()
    compared = {key: resolved[key] for key in ("contrast", "against")}
    if run.contrast.statistic != "welch":  # runs from before there was a choice stay current
        compared["statistic"] = run.contrast.statistic
    if run.contrast.statistic not in STATISTICS:
        compared["plugin"] = identity_of("deeploc.statistics", run.contrast.statistic)
    # the name under which a model is loaded does not decide what it is; the rest does
    model = {key: value for key, value in run.adapter.identity.items() if key != "model"}
    plugin = identity_of("deeploc.adapters", adapter_of(run.setup.address))
    return {
        "model": model,
        **({"adapter plugin": plugin} if plugin else {}),
        "stimuli": _hashes(run.stimuli.localizing),
        "contrast": compared,
        "read-out": resolved["read"],
    }


def rule_of(select: Select) -> dict[str, Any]:
    """Return what decides a selection; the default correction is left out, as in older runs.

    Parameters
    ----------
    select
        The rule of the contrast.
    """
    rule = select.model_dump(mode="json")
    if select.correction == Select().correction:
        del rule["correction"]
    return rule


def _hashes(stimuli: Mapping[str, Any]) -> dict[str, str]:
    groups: Mapping[str, tuple[Stimulus, ...]] = stimuli
    return {name: content_hash(group) for name, group in groups.items()}
