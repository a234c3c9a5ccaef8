"""Kinds of site of which a run selected no unit, and why."""

from deeploc.analysis.nothing_selected import nothing_selected, without_variance
from deeploc.runs.folder import RunFolder


def without_units(run: RunFolder) -> dict[str, str]:
    """Return the kinds of site of which no unit is selected, and why and what to do.

    Parameters
    ----------
    run
        The run folder.

    Raises
    ------
    RunError
        If the manifest or the mask cannot be read.
    """
    manifest, mask = run.read_manifest(), run.read_mask()
    record = manifest.select
    if record is not None and "imported" in record.inputs:
        return dict.fromkeys(
            (kind for kind in mask.layout.kinds if not len(mask.of_kind(kind))),
            "the mask that was imported holds no unit",
        )
    contrast = manifest.resolved_contrast(str(run.manifest))
    if all(len(mask.of_kind(kind)) for kind in mask.layout.kinds):
        return {}
    constant = without_variance(run.read_stat_map(), contrast.read.pool)
    return nothing_selected(mask, contrast.select, constant)
