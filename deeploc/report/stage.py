"""The stage that writes the report."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

from deeploc.report.exports import remove_exports
from deeploc.report.html import render
from deeploc.runs.folder import RunFolder
from deeploc.runs.keys import json_hash
from deeploc.runs.saving import Pipeline, Save
from deeploc.runs.stages import remove


class ReportStage:
    """Writes the report of everything that is current."""

    name: ClassVar[str] = "report"
    files: ClassVar[tuple[str, ...]] = ("report.html",)
    needs: ClassVar[tuple[str, ...]] = (
        "audit",
        "localize",
        "ranking",
        "select",
        "profile",
        "driving",
        "reliability",
        "evaluate",
        "verdict",
        "examples",
    )
    algorithm: ClassVar[int] = 4
    protected: ClassVar[bool] = False

    def inputs(self, run: Pipeline) -> Mapping[str, Any]:
        """Return what the manifest says beside the stages, and who renders it."""
        return {"header": json_hash(dict(run.header)), "deeploc": version("deeploc")}

    def make(self, run: Pipeline, save: Save) -> None:
        """Render it; figures and tables of the one before it are not those of this one."""
        page = render(run.folder.path)
        remove_exports(run.folder.path)
        save({"report.html": page}, {})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove it, and the figures and tables that belong to it."""
        remove(folder, ReportStage.files)
        remove_exports(folder.path)
