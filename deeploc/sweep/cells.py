"""The cells of a sweep: one run for each model, contrast, seed and combination of options."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from deeploc.contrast.model import Contrast
from deeploc.contrast.model import load as load_contrast
from deeploc.contrast.yaml import KeyPath
from deeploc.core.adapter import ModelOptions
from deeploc.errors import ContrastError, SweepError, nearest
from deeploc.runs.keys import json_hash
from deeploc.runs.setup import Setup, decides, default_folder, short_change
from deeploc.sweep.fields import ContrastEntry, ModelEntry
from deeploc.sweep.file import Sweep


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Parameters
    ----------
    number
        Its place in the sweep, from 0.
    contrast
        A shipped name, or the path of a file.
    name
        The name that the contrast has in its file.
    changes
        What is changed in it, ``dotted.key=VALUE``.
    options
        The changes that are options of the sweep: dotted key -> value.
    setup
        The model and everything else that the run is made from.
    folder
        The run folder.
    """

    number: int
    contrast: str
    name: str
    changes: tuple[str, ...]
    options: Mapping[str, Any]
    setup: Setup
    folder: Path

    @property
    def model(self) -> str:
        """The model as tables name it: its address, and what else makes it another model."""
        model = self.setup.model
        more = [model.revision or "", model.weights.name if model.weights else ""]
        more += [model.dtype] if model.dtype != "auto" else []
        more += ["untrained"] * model.untrained
        return " ".join([self.setup.address, *filter(None, more)])

    def loaded(self) -> Contrast:
        """Return the contrast with its changes.

        Raises
        ------
        ContrastError
            If it is not usable.
        """
        return load_contrast(self.contrast, self.changes)


@dataclass(frozen=True)
class Group:
    """Cells that one process runs one after the other, since they are of one model.

    Parameters
    ----------
    cells
        The cells; at least one.
    """

    cells: tuple[Cell, ...]


def cells_of(sweep: Sweep, folder: Path, stimuli: Mapping[str, Path] | None = None) -> list[Cell]:
    """Return the cells of a sweep: models first, then contrasts, seeds, options.

    Parameters
    ----------
    sweep
        The sweep.
    folder
        The folder of the sweep; each cell is a folder in it.
    stimuli
        Name of a contrast as the sweep file has it -> the folder of its stimuli, before what the
        file says; under the empty name that of all others.

    Raises
    ------
    SweepError
        If a contrast, or what is changed in it, is not usable (has a line per error), or
        ``stimuli`` names one that the sweep does not have.
    """
    _refuse_unknown(sweep, stimuli or {})
    cells: list[Cell] = []
    taken: set[Path] = set()
    loaded = _Contrasts(sweep)
    for model, (index, entry), seed in product(
        sweep.models, enumerate(sweep.contrasts), sweep.seeds
    ):
        place = _stimuli(sweep, entry, stimuli or {})
        setup = Setup(
            model.model, _model_options(sweep, model, seed), sweep.limit, place, strict=sweep.strict
        )
        for options in _combinations(sweep.options):
            where, name, changes = loaded.named(index, options)
            path = _folder(folder, name, setup, changes, options)
            path = path if path not in taken else _apart(path, where, setup, changes)
            taken.add(path)
            made = replace(setup, command=command_of(where, setup, changes, path))
            cells.append(Cell(len(cells), where, name, changes, options, made, path))
    return cells


def groups_of(cells: Sequence[Cell]) -> list[Group]:
    """Return the cells by model: what one process loads once.

    Parameters
    ----------
    cells
        The cells.
    """
    groups: dict[tuple[str, ModelOptions], list[Cell]] = {}
    for cell in cells:
        options = replace(cell.setup.model, seed=0)
        groups.setdefault((cell.setup.address, options), []).append(cell)
    return [Group(tuple(group)) for group in groups.values()]


def command_of(contrast: str, setup: Setup, changes: Sequence[str], folder: Path) -> str:
    """Return the command line that makes the run of a cell by hand.

    Parameters
    ----------
    contrast
        A shipped name, or the path of a file.
    setup
        The model and everything else that the run is made from.
    changes
        What is changed in the contrast, ``dotted.key=VALUE``.
    folder
        The run folder.
    """
    model = setup.model
    options: Mapping[str, Any] = {
        "--revision": model.revision,
        "--weights": model.weights,
        "--device": None if model.device == "auto" else model.device,
        "--device-map": model.device_map,
        "--dtype": None if model.dtype == "auto" else model.dtype,
        "--batch-size": model.batch_size,
        "--seed": model.seed or None,
        "--limit": setup.limit,
        "--stimuli": setup.folder,
        "--untrained": model.untrained,
        "--trust-remote-code": model.trust_remote_code,
        "--strict": setup.strict,
    }
    words = ["deeploc", "run", contrast, "-m", setup.address]
    for name, value in options.items():
        if isinstance(value, bool):
            words += [name] * value
        elif value is not None:
            words += [name, str(value)]
    for change in changes:
        words += ["--set", change]
    return shlex.join([*words, "-o", str(folder)])


class _Contrasts:
    """The contrasts of a sweep, each read once for every combination of options."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._names: dict[tuple[int, tuple[str, ...]], str] = {}

    def named(self, index: int, options: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
        """Return where a contrast is, its name, and its changes; refuse one that is not usable."""
        sweep, entry = self._sweep, self._sweep.contrasts[index]
        where = entry.contrast
        if where.endswith((".yaml", ".yml")):
            where = str(sweep.base / Path(where).expanduser())
        changes = tuple(_changes({**sweep.set, **entry.set, **options}))
        if (index, changes) not in self._names:
            try:
                self._names[index, changes] = load_contrast(where, changes).name
            except ContrastError as error:
                place = _changed_at(sweep, index, options, str(error))
                raise sweep.error_at(place, str(error).removeprefix("--set ")) from None
        return where, self._names[index, changes], changes


def _changed_at(sweep: Sweep, index: int, options: Mapping[str, Any], message: str) -> KeyPath:
    """Return where the file has what a message about a contrast is about."""
    own: KeyPath = ("contrasts", index)
    places: Mapping[KeyPath, Mapping[str, Any]] = {
        ("options",): options,
        (*own, "set"): sweep.contrasts[index].set,
        ("set",): sweep.set,
    }
    for place, values in places.items():
        for key in values:
            if message.startswith(f"--set {key}="):
                return (*place, key)
    return own


def _refuse_unknown(sweep: Sweep, stimuli: Mapping[str, Path]) -> None:
    """Refuse stimuli of a contrast that the sweep does not have."""
    known = [entry.contrast for entry in sweep.contrasts]
    for name in stimuli:
        if name and name not in known:
            raise SweepError(
                f"--stimuli {name}=DIR: the sweep has no contrast {name!r}; {nearest(name, known)}"
                f"it has {', '.join(known)}"
            )


def _changes(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{key}={json.dumps(value, ensure_ascii=False)}"  # YAML has no pairs of escapes


def _combinations(options: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def _model_options(sweep: Sweep, model: ModelEntry, seed: int) -> ModelOptions:
    return ModelOptions(
        device=model.device or sweep.device,
        dtype=model.dtype or sweep.dtype,
        batch_size=model.batch_size or sweep.batch_size,
        untrained=model.untrained,
        seed=seed,
        weights=_path(sweep, model.weights),
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
        device_map=model.device_map,
    )


def _stimuli(sweep: Sweep, entry: ContrastEntry, given: Mapping[str, Path]) -> Path | None:
    """Return the folder of the stimuli of a contrast: of the command line, else of the file."""
    own = given.get(entry.contrast)
    return own or _path(sweep, entry.stimuli) or given.get("") or _path(sweep, sweep.stimuli)


def _path(sweep: Sweep, text: str | None) -> Path | None:
    return None if text is None else sweep.base / Path(text).expanduser()


def _folder(
    folder: Path, name: str, setup: Setup, changes: Sequence[str], options: Mapping[str, Any]
) -> Path:
    """Return the folder of a cell: the name of its run, and every option that is compared."""
    compared = [short_change(change) for change in _changes(options) if not decides(change)]
    return folder / "-".join([default_folder(name, setup, changes).name, *compared])


def _apart(path: Path, contrast: str, setup: Setup, changes: Sequence[str]) -> Path:
    """Return a folder of its own for a cell whose name is taken by an earlier one."""
    decisive = json_hash([contrast, setup.address, setup.options(Path()), *changes])
    return path.with_name(f"{path.name}-{decisive.rpartition(':')[2][:8]}")
