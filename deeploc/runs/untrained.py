"""The stage that localizes in an untrained copy of the model."""

import gc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from deeploc.analysis.localization import layout_of
from deeploc.analysis.untrained import localize_untrained
from deeploc.core.adapter import Adapter
from deeploc.core.untrained import Untrained
from deeploc.errors import DeeplocError
from deeploc.plugins import load_model
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import ProfileStage
from deeploc.runs.run import Run
from deeploc.runs.saving import Save

MOST_PARAMETERS = 2**30
"""A larger model gets no copy beside it: random weights are drawn in float32, here 4 GiB of them.

The number is the entry ``parameters`` of `Adapter.identity`; without one there is no limit.
"""

_ON_ITS_OWN = "compare with a run of its own (--untrained)"


class UntrainedStage:
    """Localizes in an untrained copy of the model, which is then given up."""

    name: ClassVar[str] = "untrained"
    files: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what decides the profile, the rule of selection, and whether a copy is asked for.

        The identity of the model stands for its architecture.
        """
        rule = run.contrast.select.model_dump(mode="json")
        asked = run.contrast.verdict.untrained
        return {**ProfileStage().inputs(run), "select": rule, "asked": asked}

    def make(self, run: Run, save: Save) -> None:
        """Build the copy and read the stimuli; a failure is recorded, and tried again next time."""
        complete = True
        try:
            made = _made(run)
        except (DeeplocError, MemoryError) as error:
            reason = str(error) or "an untrained copy does not fit into memory"
            made, complete = Untrained(missing=reason), False
        gc.collect()  # adapters refer to themselves: without this the copy stays in memory
        save({}, made.to_json(), complete=complete)

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Do nothing: it has no files."""


def _made(run: Run) -> Untrained:
    if reason := _not_wanted(run):
        return Untrained(missing=reason)
    options = replace(run.setup.model, untrained=True, modality=run.contrast.modality)
    copy = load_model(run.setup.address, options)
    if reason := _no_copy(run, copy):
        return Untrained(missing=reason)
    halves = [run.stimuli.localizing, *[run.stimuli.held_out] * (run.contrast.split == "half")]
    n = sum(len(group) for half in halves for group in half.values())
    with run.reporter.progress("untrained copy", n) as on_progress:
        return Untrained(
            localize_untrained(
                copy, run.contrast, run.stimuli, seed=run.setup.seed, on_progress=on_progress
            )
        )


def _not_wanted(run: Run) -> str | None:
    """Return why no copy is built, None if one is."""
    if not run.contrast.verdict.untrained:
        return "switched off (verdict.untrained: false)"
    if (by := run.contrast.select.by) != "contrast":
        return f"units are ranked by {by}, and a copy is localized by the statistic"
    if run.setup.model.untrained:
        return "the model itself is untrained"
    size = run.adapter.identity.get("parameters")
    if isinstance(size, int) and size > MOST_PARAMETERS:
        return (
            f"a copy is built of models up to {MOST_PARAMETERS:,} parameters, this one has "
            f"{size:,}; {_ON_ITS_OWN}"
        )
    return None


def _no_copy(run: Run, copy: Adapter) -> str | None:
    """Return why what an adapter returned is no untrained copy, None if it is one."""
    own, other = run.adapter.identity, copy.identity
    if own.get("weights", own) == other.get("weights", other):
        return "the adapter gives an untrained copy the same weights"
    if layout_of(copy, run.contrast).units != run.layout.units:
        return f"an untrained copy has other sites; {_ON_ITS_OWN}"
    return None
