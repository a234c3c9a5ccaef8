"""Sweep files: what is run over which models, contrasts, seeds and options."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from deeploc.contrast import file as yaml_file
from deeploc.contrast.fields import Name
from deeploc.contrast.file import Document
from deeploc.contrast.validation import (
    Flag,
    Seed,
    StrictModel,
    Text,
    Whole,
    as_list,
    contrast_error,
)
from deeploc.contrast.yaml import KeyPath
from deeploc.errors import ContrastError, SweepError, nearest
from deeploc.sweep.fields import (
    BatchSize,
    Changes,
    ContrastKey,
    Contrasts,
    DTypeName,
    Models,
    Resources,
    Values,
    check_distinct,
)

_Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(check_distinct)]
Seeds = Annotated[_Seeds, BeforeValidator(as_list, json_schema_input_type=Seed | _Seeds)]


class Sweep(StrictModel):
    """A run for each model, contrast, seed and combination of ``options``: its *cells*.

    A cell is the run folder that ``deeploc run`` would make with the same options, to the byte.
    Relative paths start at the folder of the sweep file.
    """

    name: Name
    """The name of the sweep; also names its folder, runs/NAME."""
    title: Text
    """What is asked, in one line."""
    notes: Text | None = None
    """What readers of the results must know."""
    models: Models
    """Addresses, or mappings of an address and how the model is loaded."""
    contrasts: Contrasts
    """Shipped names or paths of .yaml files, or mappings of one of them and its changes."""
    seeds: Seeds = (0,)
    """Seeds: each runs everything again with another sample of stimuli, controls and so on."""
    set: Changes = {}
    """Changes of every contrast, ``dotted.key: value``, as ``deeploc run --set``."""
    options: Mapping[ContrastKey, Values] = {}
    """Dotted key of a contrast -> the values that are compared; every combination is a cell."""
    device: Text = "auto"
    """Where models run: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    dtype: DTypeName = "auto"
    """Precision of the weights; ``auto``: float32 on the CPU, that of the checkpoint elsewhere."""
    batch_size: BatchSize | None = None
    """Maximum number of stimuli per forward pass; null: chosen by the adapter."""
    limit: Annotated[Whole, Field(ge=2)] | None = None
    """Maximum number of stimuli per condition, and of items per condition of a task."""
    stimuli: Text | None = None
    """The folder that holds the stimuli of all contrasts, as ``deeploc run --stimuli``."""
    strict: Flag = False
    """Whether an image that cannot be read ends a cell; otherwise it is left out."""
    resources: Resources = Resources()
    """What a worker needs with ``--engine ray``."""
    retries: Annotated[Whole, Field(ge=0, le=100)] = 2
    """How often a cell is tried again whose process was killed, e.g. for memory."""

    _document: Document = PrivateAttr(default=Document({}, {}))
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def base(self) -> Path:
        """The folder that relative paths start from: that of the file."""
        return self._base

    def error_at(self, path: KeyPath, message: str) -> SweepError:
        """Return an error about a part of the sweep, with file and line.

        Parameters
        ----------
        path
            The keys and indices that lead to the part.
        message
            What is wrong, what would be right and what to do.
        """
        return SweepError(f"{self._document.location(path)}: {message}")


def available() -> list[str]:
    """Return the names of the shipped sweeps."""
    return sorted(path.stem for path in _shipped().glob("*.yaml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Return a shipped sweep by its name, or one from a file.

    Parameters
    ----------
    name_or_path
        The name of a shipped sweep, or the path of a file that ends in .yaml or .yml.
    overrides
        Changes ``dotted.key=VALUE`` of the file, made before it is validated.

    Raises
    ------
    SweepError
        If there is no such sweep, or the file does not describe one; has a line per error.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        if name not in available():
            raise SweepError(
                f"no sweep named {name!r}; {nearest(name, available())}"
                f"shipped: {', '.join(available())}; for your own, pass the path of a .yaml file"
            )
        path, name = _shipped() / f"{name}.yaml", f"{name}.yaml"
    try:
        document = yaml_file.read(path, name)
        for change in overrides:
            document = yaml_file.override(document, change)
        sweep = _validated(document)
    except ContrastError as error:
        raise SweepError(str(error)) from None
    sweep._document, sweep._base = document, path.absolute().parent
    return sweep


def refuse_remote_code(sweep: Sweep) -> None:
    """Refuse a sweep that asks for the Python code of checkpoints: a file alone never runs any.

    Parameters
    ----------
    sweep
        The sweep.

    Raises
    ------
    SweepError
        Naming the line of the first model that does.
    """
    for number, entry in enumerate(sweep.models):
        if entry.trust_remote_code:
            raise sweep.error_at(
                ("models", number, "trust_remote_code"),
                f"{entry.model} would run the Python code of its checkpoint, which a file alone "
                "cannot ask for; if you trust it, add --trust-remote-code to the command",
            )


def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of sweep files."""
    schema = Sweep.model_json_schema(by_alias=True)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": "urn:deeploc:sweep:1"}
    return {**head, **schema, "title": "deeploc sweep"}


def _validated(document: Document) -> Sweep:
    try:
        return Sweep.model_validate(document.data)
    except ValidationError as error:
        raise contrast_error(error, document) from None


def _shipped() -> Path:
    return Path(str(files("deeploc.sweeps")))
