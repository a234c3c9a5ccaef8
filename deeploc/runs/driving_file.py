"""The stimuli that drive the selected units as files of a run folder: a table, maps, pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deeploc.atomic import Buffer
from deeploc.core.driving import Driven, DrivingStimuli, DrivingStimulus, Maps, distinct, from_csv
from deeploc.core.units import Layout
from deeploc.errors import RunError
from deeploc.runs.files import load_tensors, safetensors_parts
from deeploc.runs.folder import RunFolder

TABLE = "driving-stimuli.csv"
"""One row per stimulus."""

PICTURES = "driving-stimuli.safetensors"
"""``map.KIND``: float64 (row of the table, row, column); ``picture.N``: the bytes of a JPEG, N
counts the images as they first appear in the table. None of a run on texts."""


def driving_parts(driving: DrivingStimuli, layout: Layout) -> Iterator[Buffer]:
    """Yield the parts of driving-stimuli.safetensors.

    Parameters
    ----------
    driving
        The stimuli.
    layout
        The sites of the run.
    """
    order = distinct(driving.rows)
    bytes_of = (driving.pictures[each] for each in order)
    tensors = {f"picture.{n}": np.frombuffer(b, np.uint8) for n, b in enumerate(bytes_of)}
    return safetensors_parts({**_named_maps(driving), **tensors}, layout)


def _named_maps(driving: DrivingStimuli) -> dict[str, np.ndarray]:
    return {f"map.{kind}": np.asarray(maps, float) for kind, maps in driving.maps.items()}


def load_driving(folder: RunFolder) -> DrivingStimuli | None:
    """Return the stimuli that drive the selected units, None where nobody looked for them.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RunError
        If the manifest or one of the files cannot be read.
    """
    record = folder.read_manifest().driving
    if record is None:
        return None
    table = folder.checked("driving", folder.path / TABLE)
    kinds = [Driven(**kind.model_dump()) for kind in record.kinds]
    try:
        rows = from_csv(table.read_bytes().decode())  # read_text() would change line ends in texts
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{table} is broken: {error}; delete it and localize again") from error
    if PICTURES not in record.files:
        return DrivingStimuli(kinds, rows)
    return _with_pictures(kinds, rows, folder.checked("driving", folder.path / PICTURES))


def _with_pictures(
    kinds: Sequence[Driven], rows: Sequence[DrivingStimulus], path: Path
) -> DrivingStimuli:
    tensors, _ = load_tensors(path)
    plain = DrivingStimuli(kinds, rows)
    maps: dict[str, Maps] = {}
    for kind in kinds:
        values = tensors.get(f"map.{kind.sites}")
        if values is None:
            continue
        if values.ndim != 3 or len(values) != len(plain.of(kind.sites)) or 0 in values.shape:
            shape = tuple(values.shape)
            raise RunError(f"{path} holds maps of shape {shape} at {kind.sites}; localize again")
        maps[kind.sites] = values
    names = {name: f"picture.{number}" for number, name in enumerate(distinct(rows))}
    pictures = {k: tensors[v].tobytes() for k, v in names.items() if v in tensors}
    return DrivingStimuli(kinds, rows, pictures, maps)
