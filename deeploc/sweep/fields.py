"""The parts of a sweep file: models, contrasts, resources of a cell."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from deeploc import entry_points
from deeploc.contrast.validation import Flag, Number, StrictModel, Text, Whole
from deeploc.errors import nearest

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MEMORY = r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)i?B?"


def _check_key(key: str) -> str:
    if all(key.split(".")) and "=" not in key and key.strip() == key:
        return key
    raise ValueError(f"{key[:60]!r} is no key of a contrast; write it dotted, e.g. read.pool")


def _check_memory(text: str) -> str:
    if re.fullmatch(_MEMORY, text):
        return text
    raise ValueError(f"{text[:40]!r} is no amount of memory; write e.g. 8 GB")


def _check_address(address: str) -> str:
    adapter, _, name = address.partition(":")
    known = entry_points.available("deeploc.adapters")
    if name and adapter in known:
        return address
    hint = nearest(adapter, known) if name else "write ADAPTER:NAME, e.g. hf:gpt2; "
    raise ValueError(f"{address[:80]!r} names no adapter; {hint}there are {', '.join(known)}")


def check_distinct(values: Sequence[Any]) -> Sequence[Any]:
    """Refuse a list that holds a value twice.

    Parameters
    ----------
    values
        The list.
    """
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(
                f"{_plain(value)} is listed twice; that would be the same run; keep one"
            )
    return values


def _plain(value: Any) -> str:
    return (
        str(value.model_dump(exclude_defaults=True))
        if hasattr(value, "model_dump")
        else repr(value)
    )


ContrastKey = Annotated[Text, AfterValidator(_check_key)]
"""A dotted key of a contrast file, e.g. ``ablate.percent``."""
Changes = Mapping[ContrastKey, JsonValue]
"""Dotted key of a contrast file -> its value."""
Values = Annotated[tuple[JsonValue, ...], Field(min_length=1), AfterValidator(check_distinct)]
Memory = Annotated[Text, AfterValidator(_check_memory)]
Address = Annotated[Text, AfterValidator(_check_address)]
BatchSize = Annotated[Whole, Field(ge=1)]
DTypeName = Literal["auto", "float32", "bfloat16", "float16"]


class ModelEntry(StrictModel):
    """A model and how it is loaded. ``hf:gpt2`` alone means ``{model: hf:gpt2}``.

    What is left out here is that of the sweep (``device``, ``dtype``, ``batch_size``).
    """

    model: Address
    """The address of the model, ``ADAPTER:NAME``, as after ``deeploc run -m``."""
    revision: Text | None = None
    """Branch, tag or commit of the model on the hub."""
    weights: Text | None = None
    """A file of weights for a timm or torchvision architecture; relative to the sweep file."""
    untrained: Flag = False
    """Random weights, sampled with the seed of each cell, as a control."""
    trust_remote_code: Flag = False
    """Run the Python code that the checkpoint contains; needs ``deeploc sweep
    --trust-remote-code``, too."""
    device: Text | None = None
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    device_map: Text | None = None
    """Spread the model over devices: ``auto``, or a JSON file."""
    dtype: DTypeName | None = None
    """Precision of the weights."""
    batch_size: BatchSize | None = None
    """Maximum number of stimuli per forward pass."""


class ContrastEntry(StrictModel):
    """A contrast, and what is changed in it. ``faces`` alone means ``{contrast: faces}``."""

    contrast: Text
    """A shipped name, or a path ending in .yaml; relative to the sweep file."""
    stimuli: Text | None = None
    """The folder that holds its stimuli, as ``deeploc run --stimuli``; relative to the sweep file;
    null: that of the sweep, if it has one."""
    set: Changes = {}
    """Changes of this contrast, ``dotted.key: value``, as ``deeploc run --set``; made after those
    of the sweep."""


class Resources(StrictModel):
    """What one worker needs with ``--engine ray``; Ray starts it where that is free."""

    cpus: Annotated[Number, Field(gt=0)] = 1
    """Number of CPUs of a worker."""
    gpus: Annotated[Number, Field(ge=0)] = 0
    """Number of GPUs of a worker; a fraction shares one."""
    memory: Memory | None = None
    """Memory of a worker, e.g. ``8 GB``; null: not reserved."""

    @property
    def bytes(self) -> int | None:
        """The memory in bytes."""
        match = re.fullmatch(_MEMORY, self.memory or "")
        return int(float(match[1]) * _UNITS[match[2]]) if match else None


def _as_model(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


def _as_contrast(value: Any) -> Any:
    return {"contrast": value} if isinstance(value, str) else value


ModelItem = Annotated[
    ModelEntry, BeforeValidator(_as_model, json_schema_input_type=Text | ModelEntry)
]
ContrastItem = Annotated[
    ContrastEntry, BeforeValidator(_as_contrast, json_schema_input_type=Text | ContrastEntry)
]
Models = Annotated[tuple[ModelItem, ...], Field(min_length=1), AfterValidator(check_distinct)]
Contrasts = Annotated[tuple[ContrastItem, ...], Field(min_length=1), AfterValidator(check_distinct)]
