"""What is refused before the first forward pass of a run."""

from collections.abc import Sequence

from deeploc.analysis.localization import check_counts
from deeploc.analysis.nothing_selected import without_units
from deeploc.analysis.position_activations import check_modes
from deeploc.analysis.select_units import check_sizes
from deeploc.core.adapter import ReadsOneKind
from deeploc.core.attributing import with_loss
from deeploc.core.task import check_needs
from deeploc.core.unit_task import AnyTask
from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.runs.run import Run


def check_run(run: Run, tasks: Sequence[AnyTask]) -> None:
    """Refuse what cannot work, as far as it can be known before the first forward pass.

    Parameters
    ----------
    run
        The run.
    tasks
        What is to be measured.

    Raises
    ------
    DeeplocError
        If the model cannot do the tasks, or cannot be read or selected from as the contrast says.
    """
    _check_modality(run)
    check_needs(run.adapter, tasks)
    check_counts(run.contrast, run.stimuli.localizing)
    check_modes(run.contrast, run.adapter)
    if run.contrast.select.by != "contrast":
        with_loss(run.adapter)
    try:
        check_sizes(checked_layout(run), run.contrast.select)
        for why in without_units(checked_layout(run), run.contrast.select).values():
            run.reporter.note(why)
    except ValueError as error:
        raise run.contrast.error_at(("select",), str(error)) from None


_STIMULI = {"text": ("texts", "language"), "image": ("images", "faces-rendered")}
"""Modality -> its stimuli, and a contrast of them."""


def _check_modality(run: Run) -> None:
    """Refuse texts for a network of images, and images for a model of texts."""
    shown = run.contrast.modality
    reads = run.adapter.modality if isinstance(run.adapter, ReadsOneKind) else shown
    if reads != shown:
        stimuli, example = _STIMULI[reads]
        raise run.contrast.error_at(
            ("modality",),
            f"the contrast shows {_STIMULI[shown][0]}, and {run.setup.address} reads {stimuli}; "
            f"take a contrast of {stimuli}, e.g. {example} (`deeploc contrasts` lists them), or "
            "another model",
        )


def checked_layout(run: Run) -> Layout:
    """Return the sites that a run reads; sites that the model lacks are an error of the contrast.

    Parameters
    ----------
    run
        The run.

    Raises
    ------
    ContrastError
        If the model lacks them; names the line.
    """
    try:
        return run.layout
    except AdapterError as error:
        raise run.contrast.error_at(("read", "sites"), str(error)) from error
