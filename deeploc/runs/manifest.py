"""The manifest of a run: its format, how it is read, and what it records of the environment."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.naming import missing_kinds
from deeploc.core.units import Layout
from deeploc.errors import ContrastError, RunError
from deeploc.runs.driving_record import DrivingRecord
from deeploc.runs.records import (
    AuditRecord,
    ConditionRecord,
    EvaluateRecord,
    LocalizeRecord,
    MassiveRecord,
    Options,
    Part,
    ProfileRecord,
    RankingRecord,
    ReliabilityRecord,
    SelectRecord,
    SiteRecord,
    StageRecord,
    UnreadableRecord,
    UntrainedRecord,
)
from deeploc.runs.setup import Setup
from deeploc.runs.used_plugins import recorded
from deeploc.stimuli import StimulusSets
from deeploc.stimuli.stimulus import content_hash

SCHEMA = 2
"""The version of the format of run folders."""

_PACKAGES = ("torch", "transformers", "timm", "torchvision", "tokenizers", "numpy", "scipy")


class Manifest(Part):
    """manifest.json: what the run is made from, and a record of every stage."""

    deeploc: str
    created: str
    command: str
    address: str
    model: dict[str, Any]
    contrast: dict[str, Any]
    options: Options
    stimuli: dict[str, ConditionRecord]
    unreadable: list[UnreadableRecord]
    sites: list[SiteRecord]
    versions: dict[str, str]
    notices: list[str] = []
    audit: AuditRecord | None = None
    localize: LocalizeRecord | None = None
    ranking: RankingRecord | None = None
    select: SelectRecord | None = None
    profile: ProfileRecord | None = None
    driving: DrivingRecord | None = None
    reliability: ReliabilityRecord | None = None
    massive: MassiveRecord | None = None
    positions: StageRecord | None = None
    difference: StageRecord | None = None
    untrained: UntrainedRecord | None = None
    evaluate: EvaluateRecord | None = None
    verdict: StageRecord | None = None
    examples: StageRecord | None = None
    report: StageRecord | None = None
    parameters: StageRecord | None = None

    @property
    def ranked_by(self) -> str:
        """What units are ranked by: ``contrast``, ``attribution`` or ``gradient``."""
        select = self.contrast.get("select")
        return str(select.get("by", "contrast")) if isinstance(select, dict) else "contrast"

    def record(self, stage: str) -> StageRecord | None:
        """Return the record of a stage, None where it has none."""
        known: StageRecord | None = getattr(self, stage, None)
        if known is None or isinstance(known, StageRecord):
            return known
        return StageRecord.model_validate(known)

    def resolved_contrast(self, source: str) -> Contrast:
        """Return the contrast of the run; messages call the manifest ``source``.

        Raises
        ------
        RunError
            If it is no valid contrast.
        """
        try:
            return Contrast.from_json(self.contrast, Path(self.options.base), recorded=True)
        except ContrastError as error:
            first = str(error).splitlines()[0]
            raise RunError(f"{source} holds no valid contrast: {first}; run again") from None


def parse_manifest(text: str, source: str) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest in ``text``, and the same as plain JSON.

    Parameters
    ----------
    text
        The content of manifest.json.
    source
        What messages call the file.

    Raises
    ------
    RunError
        If it is no manifest, or one of another version of the format.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{source} cannot be read: {_one_line(error)}; run again") from None
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if schema != SCHEMA:
        written = plain.get("deeploc") if isinstance(plain, dict) else None
        by = f" (deeploc {written} wrote it)" if isinstance(written, str) else ""
        raise RunError(
            f"{source} is of format {schema!r}{by}, this deeploc reads format {SCHEMA}; run again "
            "into another folder, or use the deeploc that wrote it"
        )
    try:
        return Manifest.model_validate(plain), plain
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise RunError(f"{source} is damaged: {place}: {first['msg']}; run again") from None


def header_of(
    contrast: Contrast, setup: Setup, adapter: Adapter, stimuli: StimulusSets, layout: Layout
) -> dict[str, Any]:
    """Return what the manifest says of the run itself: everything but the stages.

    Parameters
    ----------
    contrast, setup, adapter, stimuli
        What the run is made from.
    layout
        The sites that are read.
    """
    notices = missing_kinds(adapter.sites, contrast.read.sites)
    return {
        "schema": SCHEMA,
        "deeploc": version("deeploc"),
        "created": _now().isoformat(timespec="seconds"),
        "command": setup.command,
        "address": setup.address,
        "model": dict(adapter.identity),
        "contrast": contrast.to_json(),
        "options": options_of(contrast, setup),
        "stimuli": _describe(stimuli),
        "unreadable": [asdict(image) for image in stimuli.unreadable],
        "sites": layout.table(),
        "versions": versions(),
        **({"notices": notices} if notices else {}),
    }


def options_of(contrast: Contrast, setup: Setup) -> dict[str, Any]:
    """Return the options of a run as the manifest records them.

    Parameters
    ----------
    contrast, setup
        What the run is made from.
    """
    files = recorded(setup.address, contrast)
    return {**setup.options(contrast.base), **({"plugins": files} if files else {})}


def _now() -> datetime:
    """Return the time, or that of SOURCE_DATE_EPOCH, the convention of reproducible builds."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)


def versions() -> dict[str, str]:
    """Return the versions of Python, deeploc and the packages that decide the numbers."""
    installed = {"python": platform.python_version(), "deeploc": version("deeploc")}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def _describe(stimuli: StimulusSets) -> dict[str, dict[str, Any]]:
    described: dict[str, Mapping[str, Any]] = {}
    for name, localizing in stimuli.localizing.items():
        held_out = stimuli.held_out[name]
        described[name] = {
            "n": stimuli.counts[name],
            "localize": len(localizing),
            "evaluate": len(held_out),
            "sha256": content_hash(localizing),
            "sha256_evaluate": content_hash(held_out),
            "samples": [stimulus.title for stimulus in localizing[:3]],
        }
    return {name: dict(values) for name, values in described.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
