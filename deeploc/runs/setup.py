"""What a run is made from, apart from its contrast."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deeploc.core.adapter import ModelOptions

_ADDS_SCORES = ("ablate", "evaluate", "verdict", "examples")
"""Sections of a contrast that decide what else is measured, not what the other numbers are."""

_LONGEST_VALUE = 24

_RECORDED = ("dtype", "untrained", "seed", "revision", "trust_remote_code")
"""Options of the model that decide the numbers, beside its file of weights."""


@dataclass(frozen=True)
class Setup:
    """What a run is made from, apart from its contrast.

    Parameters
    ----------
    address
        The model, as ``ADAPTER:NAME``.
    model
        How it is loaded; also holds the seed of the run.
    limit
        Most stimuli per condition and items per condition of a task; None: all.
    folder
        The folder of ``--stimuli``; None: the contrast's own sources.
    command
        The command line, for the record.
    strict
        Whether an image that cannot be read is an error; otherwise it is left out.
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

    def options(self, base: Path) -> dict[str, Any]:
        """Return the options as the manifest records them; ``base`` is the contrast's folder."""
        model = self.model
        return {
            "device": model.device,
            "dtype": model.dtype,
            "batch_size": model.batch_size,
            "untrained": model.untrained,
            "seed": model.seed,
            "weights": _absolute(model.weights),
            "limit": self.limit,
            "stimuli": _absolute(self.folder),
            "strict": self.strict,
            "base": str(base),
            "revision": model.revision,
            "trust_remote_code": model.trust_remote_code,
            "device_map": model.device_map,
        }

    @classmethod
    def from_options(
        cls, address: str, options: Mapping[str, Any], command: str, hardware: ModelOptions
    ) -> "Setup":
        """Return the setup of a recorded run.

        Parameters
        ----------
        address
            The model, as ``ADAPTER:NAME``.
        options
            What `options` returned.
        command
            The recorded command line.
        hardware
            Device, device map and batch size of this process; everything else comes from the
            record.
        """
        recorded = {name: options[name] for name in _RECORDED}
        model = replace(hardware, **recorded, weights=_path(options["weights"]))
        stimuli = _path(options["stimuli"])
        return cls(address, model, options["limit"], stimuli, command, options["strict"])


def default_folder(contrast: str, setup: Setup, changes: Sequence[str] = ()) -> Path:
    """Return the run folder of a command that names none: what decides the numbers, readably.

    Parameters
    ----------
    contrast
        The name of the contrast.
    setup
        What the run is made from.
    changes
        Changes of the contrast, ``dotted.key=VALUE``. Those that only decide which scores are
        measured do not count: such scores are added to the same run.

    Examples
    --------
    >>> setup = Setup("hf:gpt2", ModelOptions(untrained=True, seed=1))
    >>> default_folder("language", setup, ["read.pool=mean"]).as_posix()
    'runs/language-gpt2-untrained-seed1-pool-mean'
    """
    model = setup.model
    parts = [contrast, re.split("[:/]", setup.address.rstrip("/"))[-1]]
    parts += [re.sub(r"[^\w.-]", "-", model.revision)] if model.revision else []
    parts += ["remote-code"] * model.trust_remote_code
    parts += [model.weights.stem] if model.weights else []
    parts += ["untrained"] * model.untrained
    parts += [f"seed{model.seed}"] if model.seed else []
    parts += [model.dtype] if model.dtype != "auto" else []
    parts += [f"limit{setup.limit}"] if setup.limit is not None else []
    parts += [f"stimuli-{setup.folder.absolute().name}"] if setup.folder else []
    parts += [short_change(change) for change in changes if decides(change)]
    return Path("runs") / "-".join(part for part in parts if part)


def decides(change: str) -> bool:
    """Return whether a change of a contrast makes another run; some only add scores to it.

    Parameters
    ----------
    change
        ``dotted.key=VALUE``.
    """
    return re.split("[.=]", change.strip(), maxsplit=1)[0] not in _ADDS_SCORES


def short_change(change: str) -> str:
    """Return a change as part of a folder's name: its last key and its value, or a hash of it.

    Parameters
    ----------
    change
        ``dotted.key=VALUE``.
    """
    key, _, value = change.partition("=")
    last = key.strip().rpartition(".")[2]
    plain = re.sub(r"[\s\[\]\"'{}]", "", value).replace(",", "+").replace(":", "-")
    if len(plain) > _LONGEST_VALUE or not re.fullmatch(r"[\w.+*-]+", plain) or "*" in plain:
        plain = hashlib.sha256(value.encode()).hexdigest()[:8]
    return plain if last == "sites" else f"{last}-{plain}"


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
