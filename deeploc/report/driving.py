"""The section on the stimuli that drive the selected units most and least."""

import io
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from deeploc.core.driving import ENDS, Driven, DrivingStimuli, DrivingStimulus, Maps
from deeploc.errors import RunError
from deeploc.report.heat_map import Map, heat_png, outline, place_of_largest, upper_half
from deeploc.report.text import format_number
from deeploc.runs.saved_run import SavedRun

_AROUND = 110
"""Most characters of a text that are shown before what is read, and after it."""

_SCALE_COLOURS = 64


def driving_part(run: SavedRun) -> list[dict[str, Any]]:
    """Return what is reported of every kind of site with selected units; empty without any.

    Parameters
    ----------
    run
        The run.

    Raises
    ------
    RunError
        If a file of the run is broken.
    """
    driving = run.driving
    if driving is None:
        return []
    contrast: Mapping[str, Any] = run.manifest.get("contrast") or {}
    if contrast.get("modality") == "image":
        return [_images(driving, kind) for kind in driving.kinds]
    is_last = (contrast.get("read") or {}).get("pool", "last") == "last"
    return [_texts(driving, kind, is_last) for kind in driving.kinds]


def _texts(driving: DrivingStimuli, kind: Driven, is_last: bool) -> dict[str, Any]:
    rows = driving.of(kind.sites)
    return {
        "kind": kind,
        "is_text": True,
        "n_without": 0,
        "told": any(row.read_to is not None for row in rows),
        "ends": [(end, [_text(r, is_last) for r in rows if r.end == end]) for end in ENDS],
    }


def _images(driving: DrivingStimuli, kind: Driven) -> dict[str, Any]:
    part: dict[str, Any] = {"kind": kind, "is_text": False, "scale": None, "n_without": 0}
    rows, maps = driving.of(kind.sites), driving.maps.get(kind.sites)
    bounds = _bounds(maps)
    tiles = [
        _tile(row, driving.pictures.get((row.condition, row.stimulus)), z, bounds)
        for row, z in zip(rows, maps if maps is not None else [None] * len(rows), strict=True)
    ]
    part["ends"] = [
        (end, [tile for row, tile in zip(rows, tiles, strict=True) if row.end == end])
        for end in ENDS
    ]
    if bounds:
        colours = np.linspace(*bounds, _SCALE_COLOURS)[np.newaxis]
        part["scale"] = (*bounds, _png(colours, *bounds))
        part["n_without"] = sum(not tile["heat"] for tile in tiles)
    return part


def _bounds(maps: Maps | None) -> tuple[float, float] | None:
    """Return the smallest and the largest finite value of some maps, None without any."""
    finite = maps[np.isfinite(maps)] if maps is not None else np.empty(0)
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _tile(
    row: DrivingStimulus, picture: bytes | None, z: Map | None, bounds: tuple[float, float] | None
) -> dict[str, Any]:
    """Return one image: its picture, its map, and both in words."""
    if picture is None:
        raise RunError(f"the run holds no picture of {row.stimulus}; localize again")
    told = f"{row.stimulus}, {row.condition}, z = {format_number(row.z)}"
    tile = {"row": row, "picture": _uri("jpeg", picture), "size": _size(row, picture)}
    if z is None or bounds is None or not np.isfinite(z).all():
        return {**tile, "alt": told, "heat": "", "outline": ""}
    inside = upper_half(z)
    rows, columns = z.shape
    return {
        **tile,
        "alt": told,
        "heat_alt": f"{told}; {_where(z)}",
        "heat": _png(z, *bounds),
        "outline": outline(inside) if row.end == "most" and not inside.all() else "",
        "places": f"{columns} {rows}",
    }


def _where(z: Map) -> str:
    place = place_of_largest(z)
    if not place:
        return "the same response everywhere"
    largest = format_number(float(z.max()))
    return f"responds most at the {place}, z = {largest} there"


def _size(row: DrivingStimulus, picture: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(picture), formats=["JPEG"]) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(f"the picture of {row.stimulus} is broken; localize again") from error


def _png(z: Map, low: float, high: float) -> str:
    return _uri("png", heat_png(z, low, high))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _text(row: DrivingStimulus, is_last: bool) -> dict[str, Any]:
    """Return one text in parts: cut, before, what is read, after, cut."""
    start, end = row.read_from, row.read_to
    if not is_last or start is None or end is None:
        start = end = 0
    if not 0 <= start <= end <= len(row.text):
        raise RunError(f"the run says that {start}-{end} of {row.stimulus} is read; localize again")
    first, last = max(start - _AROUND, 0), min(end + _AROUND, len(row.text))
    if start == end:  # no word is marked: its beginning is shown
        last = min(2 * _AROUND, len(row.text))
    return {
        "row": row,
        "before": ("…" if first else "") + row.text[first:start],
        "word": row.text[start:end],
        "after": row.text[end:last] + ("…" if last < len(row.text) else ""),
    }
