"""The stages that find units: audit, localize, select, profile, reliability."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from deeploc.analysis import confounds
from deeploc.analysis.activation_cache import FILE_BYTES
from deeploc.analysis.audit import audit_stimuli
from deeploc.analysis.localization import localize
from deeploc.analysis.profile import profile
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.reliability import N_FOLDS, reliability, unknown
from deeploc.analysis.select_units import select_units
from deeploc.core.permutation import N_PERMUTATIONS
from deeploc.core.readout import Readout
from deeploc.core.resampling import Reliability
from deeploc.core.responses import to_csv
from deeploc.core.units import UnitMask
from deeploc.runs.files import (
    hash_of,
    import_llm_localization,
    mask_parts,
    statmap_parts,
    units_csv,
)
from deeploc.runs.folder import RunFolder
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import remove
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
        return {**_shared_inputs(run), "held-out stimuli": held_out, "thresholds": thresholds}

    def make(self, run: Run, save: Save) -> None:
        """Count."""
        save({}, audit_stimuli(run.contrast, run.stimuli, run.adapter).to_json())

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""


class LocalizeStage:
    """Computes the statistics of every unit."""

    name: ClassVar[str] = "localize"
    files: ClassVar[tuple[str, ...]] = ("statmap.safetensors",)
    needs: ClassVar[tuple[str, ...]] = ()
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = True

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the model, the stimuli, how they are compared and read, and the seed."""
        return {**_shared_inputs(run), "seed": run.setup.seed}

    def make(self, run: Run, save: Save) -> None:
        """Read the stimuli that localize."""
        localizing = run.stimuli.localizing
        n = sum(map(len, localizing.values()))
        with run.reporter.progress("localizing", n) as on_progress:
            stat_map = localize(
                run.adapter,
                run.contrast,
                localizing,
                seed=run.setup.seed,
                readings=run.readings,
                on_progress=on_progress,
            )
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
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return the rule, or the hash of the imported mask."""
        if self.imported is not None:
            return {"imported": hash_of(self.imported)}
        return {"select": run.contrast.select.model_dump(mode="json")}

    def make(self, run: Run, save: Save) -> None:
        """Select."""
        mask = self._mask(run)
        counts = {kind: len(mask.of_kind(kind)) for kind in mask.layout.kinds}
        units = units_csv(mask, run.stat_map)
        save({"mask.safetensors": mask_parts(mask), "units.csv": units}, {"selected": counts})

    def _mask(self, run: Run) -> UnitMask:
        if self.imported is not None:
            return import_llm_localization(self.imported, run.stat_map.layout)
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
        shared = {**_shared_inputs(run), "seed": run.setup.seed}
        return {**shared, "held-out stimuli": held_out, "split": run.contrast.split}

    def make(self, run: Run, save: Save) -> None:
        """Read the held-out stimuli."""
        counts = {name: len(stimuli) for name, stimuli in run.stimuli.localizing.items()}
        n = sum(map(len, run.stimuli.held_out.values()))
        with run.reporter.progress("profiling", n) as on_progress:
            made = profile(
                run.adapter,
                run.contrast,
                run.stat_map,
                run.mask,
                run.stimuli.held_out,
                counts=counts,
                seed=run.setup.seed,
                readings=run.readings,
                on_progress=on_progress,
            )
        save({"profile.csv": to_csv(made.responses)}, made.to_json())

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove the profile."""
        remove(folder, ProfileStage.files)


class ReliabilityStage:
    """Resamples the stimuli that localized: halves, folds, permuted labels."""

    name: ClassVar[str] = "reliability"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("localize",)
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the statistics, the rule of selection, and how often it is applied.

        A model with other weights may have the same statistics of other activations.
        """
        rule = run.contrast.select.model_dump(mode="json")
        size = {"folds": N_FOLDS, "permutations": N_PERMUTATIONS}
        return {**_shared_inputs(run), "seed": run.setup.seed, "select": rule, "resampling": size}

    def make(self, run: Run, save: Save) -> None:
        """Resample the activations that localized, which are read again only in another process."""
        save({}, self._made(run).to_json())

    def _made(self, run: Run) -> Reliability:
        stimuli, layout = run.stimuli.localizing, run.stat_map.layout
        groups = ByCondition.of(list(run.contrast.conditions), stimuli)
        readout = Readout.of(run.contrast.read)
        with run.reporter.progress("reading", len(groups.stimuli)) as on_progress:
            values = run.readings.matrix(
                groups.stimuli, run.layout, readout, on_progress=on_progress
            )
        if values is None:
            return unknown(run.stat_map, _not_kept(len(groups.stimuli) * layout.n_units))
        with run.reporter.progress("resampling", layout.n_units) as on_progress:
            return reliability(
                run.contrast,
                run.stat_map,
                stimuli,
                values,
                seed=run.setup.seed,
                on_progress=on_progress,
            )

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""


def _not_kept(n_values: int) -> str:
    size, most = (n_bytes / 2**30 for n_bytes in (n_values * 4, FILE_BYTES))
    return (
        f"{size:.1f} GiB of activations cannot be kept; a temporary file may hold {most:.0f} GiB, "
        "as far as the disk has room; read fewer sites, or lower --limit"
    )


def _shared_inputs(run: Run) -> dict[str, Any]:
    resolved = run.contrast.to_json()
    # the name under which a model is loaded does not decide what it is; the rest does
    model = {key: value for key, value in run.adapter.identity.items() if key != "model"}
    return {
        "model": model,
        "stimuli": _hashes(run.stimuli.localizing),
        "contrast": {key: resolved[key] for key in ("contrast", "against")},
        "read-out": resolved["read"],
    }


def _hashes(stimuli: Mapping[str, Any]) -> dict[str, str]:
    groups: Mapping[str, tuple[Stimulus, ...]] = stimuli
    return {name: content_hash(group) for name, group in groups.items()}
