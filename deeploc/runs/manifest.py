"""The manifest of a run: what it was made from, and whether that is still so."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from deeploc.analysis.audit import Audit
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.units import StatMap, UnitMask
from deeploc.runs.folder import SCHEMA
from deeploc.stimuli import Drawn, Stimulus
from deeploc.stimuli.stimulus import content_hash

Stimuli = Mapping[str, Sequence[Stimulus]]

_PACKAGES = ("torch", "transformers", "timm", "torchvision", "tokenizers", "numpy", "scipy")


@dataclass(frozen=True)
class Setup:
    """What an experiment is made from, apart from its contrast.

    ``limit`` bounds the stimuli per condition, ``folder`` is where ``--stimuli`` reads them;
    ``strict`` refuses images that cannot be read instead of leaving them out.
    """

    address: str
    model: ModelOptions = field(default_factory=ModelOptions)
    limit: int | None = None
    folder: Path | None = None
    command: str = ""
    strict: bool = False

    @property
    def seed(self) -> int:
        """The seed of the whole run."""
        return self.model.seed

    @classmethod
    def restored(cls, manifest: Mapping[str, Any], model: ModelOptions) -> "Setup":
        """Return the setup of a former run; only device and batch size come from ``model``."""
        options = manifest["options"]
        weights = Path(options["weights"]) if options.get("weights") else None
        decided = {name: options[name] for name in ("dtype", "untrained", "seed")}
        folder = Path(options["stimuli"]) if options["stimuli"] else None
        model = replace(model, **decided, weights=weights)
        strict = options.get("strict", False)
        return cls(
            manifest["address"], model, options["limit"], folder, manifest["command"], strict
        )


def fingerprint(value: Any) -> str:
    """Return the sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def inputs(
    contrast: Contrast, setup: Setup, adapter: Adapter, localizing: Stimuli
) -> dict[str, Any]:
    """Return everything that decides the statistics, each part by the word a user knows it by."""
    resolved = contrast.resolved()
    # the name under which a model was found says nothing of what it is; its weights' hash does
    model = {key: value for key, value in adapter.identity.items() if key != "model"}
    return {
        "deeploc": version("deeploc"),
        "model": fingerprint(model),
        "stimuli": fingerprint({name: content_hash(s) for name, s in localizing.items()}),
        "contrast": fingerprint([resolved["contrast"], resolved["against"]]),
        "read-out": fingerprint(resolved["read"]),
        "seed": setup.seed,
    }


def changed(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which of the ``inputs`` differ from those a manifest was made from."""
    former = manifest.get("localize", {}).get("inputs", {})
    return [name for name, value in now.items() if former.get(name) != value]


def manifest_of(
    contrast: Contrast,
    setup: Setup,
    adapter: Adapter,
    drawn: Drawn,
    *,
    stat_map: StatMap,
    mask: UnitMask,
    audit: Audit,
) -> dict[str, Any]:
    """Return the manifest of a localization; the audit tells of its inputs and is none of them."""
    decided = inputs(contrast, setup, adapter, drawn.localizing)
    return {
        "schema": SCHEMA,
        "deeploc": version("deeploc"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": setup.command,
        "address": setup.address,
        "model": dict(adapter.identity),
        "contrast": contrast.resolved(),
        "options": {
            **asdict(setup.model),
            "weights": _absolute(setup.model.weights),
            "limit": setup.limit,
            "stimuli": _absolute(setup.folder),
            "strict": setup.strict,
            "base": str(contrast.base),
        },
        "stimuli": _describe(drawn),
        "unreadable": [asdict(image) for image in drawn.unreadable],
        "audit": audit.to_json(),
        "sites": stat_map.layout.table(),
        "localize": {
            "inputs": decided,
            "fingerprint": fingerprint(decided),
            **_counts(stat_map, mask),
        },
        "notices": [],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, deeploc and the packages that decide the numbers."""
    found = {"python": platform.python_version(), "deeploc": version("deeploc")}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _counts(stat_map: StatMap, mask: UnitMask) -> dict[str, Any]:
    constant = np.all([sd == 0 for sd in stat_map.sds.values()], axis=0)
    return {
        "n_units": stat_map.layout.n_units,
        "constant_units": int(constant.sum()),
        "nonfinite_units": int(np.isnan(stat_map.t).sum()),
        "selected": {kind: len(mask.of_kind(kind)) for kind in mask.layout.kinds},
    }


def _describe(drawn: Drawn) -> dict[str, dict[str, Any]]:
    held_out = drawn.held_out
    described = {}
    for name, stimuli in drawn.localizing.items():
        described[name] = {
            "n": drawn.counts[name],
            "localize": len(stimuli),
            "evaluate": len(held_out[name]),
            "sha256": content_hash(stimuli),
            "sha256_evaluate": content_hash(held_out[name]),
            "samples": [s.title for s in stimuli[:3]],
        }
    return described
