"""StatMaps, masks and unit tables as files: safetensors and csv, never pickle."""

import csv
import io
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from xxhash import xxh3_128

from deeploc.atomic import Buffer
from deeploc.core.position_classes import PositionMoments
from deeploc.core.units import VECTORS, Layout, StatMap, UnitMask, Vector
from deeploc.errors import AdapterError, RunError

_PIECE = 1 << 20


def statmap_parts(stat_map: StatMap) -> Iterator[Buffer]:
    """Yield the parts of statmap.safetensors: float64 ``(unit,)`` vectors and the site table."""
    tensors = {name: getattr(stat_map, name) for name in VECTORS}
    tensors |= {f"mean.{name}": vector for name, vector in stat_map.means.items()}
    tensors |= {f"sd.{name}": vector for name, vector in stat_map.sds.items()}
    return safetensors_parts(tensors, stat_map.layout)


def load_statmap(path: Path) -> StatMap:
    """Read statmap.safetensors.

    Raises
    ------
    RunError
        If the file is missing, broken, or not a StatMap.
    """
    tensors, layout = load_tensors(path)
    if missing := [name for name in VECTORS if name not in tensors]:
        raise RunError(f"{path} is no StatMap: it lacks {', '.join(missing)}")
    vectors = {name: tensors[name] for name in VECTORS}
    return StatMap(layout, **vectors, means=_named("mean.", tensors), sds=_named("sd.", tensors))


def moments_parts(moments: PositionMoments) -> Iterator[Buffer]:
    """Yield the parts of positions.safetensors: float64 ``(unit,)`` vectors and the site table."""
    return safetensors_parts(moments.vectors, moments.layout)


def load_moments(path: Path) -> PositionMoments:
    """Read positions.safetensors.

    Raises
    ------
    RunError
        If the file is missing, broken, or holds other vectors.
    """
    tensors, layout = load_tensors(path)
    try:
        return PositionMoments(layout, **tensors)
    except TypeError:
        raise RunError(f"{path} holds {', '.join(tensors)}, not moments of positions") from None


def load_difference(path: Path) -> Vector:
    """Read difference.safetensors: what mode ``add`` adds, ``(unit,)``.

    Raises
    ------
    RunError
        If the file is missing, broken, or holds something else.
    """
    tensors, layout = load_tensors(path)
    vector = tensors.get("difference", np.empty(0))
    if vector.shape != (layout.n_units,):
        raise RunError(f"{path} holds no difference of {layout.n_units:,} units; evaluate again")
    return vector


def mask_parts(mask: UnitMask) -> Iterator[Buffer]:
    """Yield the parts of mask.safetensors: uint8 ``selected`` and the site table."""
    return safetensors_parts({"selected": mask.selected.astype(np.uint8)}, mask.layout)


def load_mask(path: Path) -> UnitMask:
    """Read mask.safetensors.

    Raises
    ------
    RunError
        If the file is missing, broken, or not a mask.
    MaskError
        If its length does not fit its own site table.
    """
    tensors, layout = load_tensors(path)
    if "selected" not in tensors:
        raise RunError(f"{path} is no mask: it has no tensor named 'selected'")
    return UnitMask(layout, tensors["selected"].astype(bool))


def hash_of(path: Path) -> str | None:
    """Return the hash of a file's bytes, None where it cannot be read.

    XXH3-128 recognises content at the speed of memory; it does not protect against forgery.
    """
    digest = xxh3_128()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError:
        return None
    return _digest(digest)


def hashed(parts: Iterable[Buffer]) -> tuple[Iterator[Buffer], Callable[[], str]]:
    """Return the same parts, and a function that returns their hash once all were taken."""
    digest = xxh3_128()

    def passed() -> Iterator[Buffer]:
        for part in parts:
            digest.update(part)
            yield part

    return passed(), lambda: _digest(digest)


def _digest(digest: xxh3_128) -> str:
    return f"xxh3:{digest.hexdigest()}"


def units_csv(mask: UnitMask, stat_map: StatMap) -> str:
    """Return units.csv: the selected units as they are ranked, with their site and index in it.

    The column ``t`` holds the contrast's statistic, whatever that is; a column ``ranking`` what
    units are ranked by where that is not the statistic.

    Parameters
    ----------
    mask
        The selected units.
    stat_map
        The statistics of the same units.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranking = {} if stat_map.ranking is None else {"ranking": stat_map.ranking}
    columns = {"t": stat_map.t, "d": stat_map.d, "q": stat_map.q, **ranking}
    columns |= {f"mean.{name}": vector for name, vector in stat_map.means.items()}
    writer.writerow(["site", "index", *columns])
    starts = np.array([mask.layout.slices[site.name].start for site in mask.layout.sites])
    (units,) = np.nonzero(mask.selected)
    for unit in units[np.argsort(-stat_map.scores[units], kind="stable")]:
        values = [repr(float(vector[unit])) for vector in columns.values()]
        owner = int(np.searchsorted(starts, unit, side="right")) - 1
        writer.writerow([mask.layout.sites[owner].name, unit - starts[owner], *values])
    return text.getvalue()


def safetensors_parts(tensors: Mapping[str, np.ndarray], layout: Layout) -> Iterator[Buffer]:
    """Yield the parts of a safetensors file, the tensors themselves without a copy.

    The library's own writer first copies everything into one piece of memory, which for millions
    of units is as much as all the rest. Source: github.com/huggingface/safetensors, "Format".

    Parameters
    ----------
    tensors
        Name -> float64, int32 or uint8 array.
    layout
        The site table, saved as metadata.
    """
    names = {np.dtype(np.float64): "F64", np.dtype(np.uint8): "U8", np.dtype(np.int32): "I32"}
    header: dict[str, Any] = {"__metadata__": {"sites": json.dumps(layout.table())}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        described = {"dtype": names[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = {**described, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    yield struct.pack("<Q", len(text))
    yield text
    for tensor in tensors.values():
        yield np.ascontiguousarray(tensor).data


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], Layout]:
    """Return the arrays of a file that `safetensors_parts` made, and its site table.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    RunError
        If it is missing or broken.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            table = json.loads((file.metadata() or {})["sites"])
        return tensors, Layout.from_table(table)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; `deeploc localize` writes it") from None
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, AdapterError) as error:
        raise RunError(f"{path} is broken or not deeploc's: {error}; localize again") from error


def _named(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
