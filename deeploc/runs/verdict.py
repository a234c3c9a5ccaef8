"""The stage that answers whether a network was found."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from deeploc.analysis.judging import judge
from deeploc.contrast.model import Contrast
from deeploc.runs.folder import RunFolder
from deeploc.runs.saving import Pipeline, Save
from deeploc.runs.stages import remove


class VerdictStage:
    """Answers the questions of `deeploc.core.verdict` from what the run folder holds."""

    name: ClassVar[str] = "verdict"
    files: ClassVar[tuple[str, ...]] = ("verdict.json",)
    needs: ClassVar[tuple[str, ...]] = (
        "localize",
        "ranking",
        "select",
        "profile",
        "reliability",
        "massive",
        "untrained",
        "evaluate",
    )
    algorithm: ClassVar[int] = 2
    protected: ClassVar[bool] = False

    def inputs(self, run: Pipeline) -> Mapping[str, Any]:
        """Return the parts of the contrast that say which outcomes and which ablation decide."""
        resolved = _contrast(run.folder).to_json()
        return {key: resolved[key] for key in ("contrast", "ablate", "evaluate", "verdict")}

    def make(self, run: Pipeline, save: Save) -> None:
        """Apply the rules."""
        folder = run.folder
        record = folder.read_manifest().evaluate
        tasks = record.tasks if record else {}
        made = judge(
            _contrast(folder).without_tasks([name for name in tasks if tasks[name].on_units]),
            folder.read_stat_map(),
            folder.read_mask(),
            profile=folder.read_profile(),
            reliability=folder.read_reliability(),
            massive=folder.read_massive(),
            scores=folder.read_scores(),
            better=folder.better(),
            chance={name: task.chance for name, task in tasks.items()},
            seed=folder.read_manifest().options.seed,
            untrained=folder.read_untrained(),
        )
        text = json.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        save({"verdict.json": f"{text}\n"}, {})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove it."""
        remove(folder, VerdictStage.files)


def _contrast(folder: RunFolder) -> Contrast:
    return folder.read_manifest().resolved_contrast(str(folder.manifest))
