"""A mask as a file for other tools, and a file of another tool as a mask.

In every format but one (layers x hidden) matrix, a site has one array over the scalars of its
tensor, by the name of the site, so that a reader needs to know nothing of deeploc: `PATH` is a
module, `PATH:input` what enters it, `PATH#2` its second call. A head is then as many scalars as
it has dimensions.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from deeploc.atomic import write
from deeploc.core.site import parse_site_name
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import MaskError, RunError
from deeploc.runs.files import load_mask
from deeploc.runs.mask_metadata import FACTS, TABLE, checked_metadata

Facts = Mapping[str, Any]
"""What a file says of the mask beside the units: model, contrast, how they were selected."""

_UNREADABLE = (OSError, ValueError, TypeError, EOFError, SafetensorError, BadZipFile, RunError)
"""What reading a file raises that is no mask; TypeError: of a type that NumPy lacks."""


def export_mask(mask: UnitMask, path: Path, kind: str, facts: Facts) -> None:
    """Write a mask in a format that other tools read.

    Parameters
    ----------
    mask
        The selected units.
    path
        The file.
    kind
        One of `FORMATS`.
    facts
        What the file says of the mask, as JSON; ``llm-localization``, ``brainscore`` and ``csv``
        have no place for it.

    Raises
    ------
    MaskError
        If the mask cannot be said in the format.
    RunError
        If the file cannot be written.
    """
    write(path, FORMATS[kind](mask, facts))


def matrix_of(mask: UnitMask, facts: Facts | None = None) -> bytes:
    """Return a mask over blocks as a ``(layers, hidden)`` 0/1 array (``.npy``, int64).

    It is what github.com/BKHMSI/llm-localization writes, and what Brain-Score's
    ``localize_fed10`` keeps in its cache.

    Parameters
    ----------
    mask
        The selected units.
    facts
        Not used: the format has no place for them.

    Raises
    ------
    MaskError
        If the mask has no ``block`` sites, or these differ in width.
    """
    del facts
    widths = [site.n_units for site in mask.layout.sites if site.kind == "block"]
    if len(set(widths)) != 1:
        raise MaskError(
            "this format is one (layers x hidden) matrix of block outputs, and the mask has blocks "
            f"of widths {widths or 'none'}; localize with `--sites block`, or export safetensors"
        )
    blocks = mask.selected[mask.layout.of_kind("block")]
    buffer = io.BytesIO()
    np.save(buffer, blocks.reshape(len(widths), widths[0]).astype(np.int64), allow_pickle=False)
    return buffer.getvalue()


def arrays_of(mask: UnitMask) -> dict[str, np.ndarray]:
    """Return the mask of every site over the scalars of its tensor, 0 or 1, uint8.

    Parameters
    ----------
    mask
        The selected units.
    """
    selected = mask.selected.astype(np.uint8)
    return {
        site.name: np.repeat(selected[mask.layout.slices[site.name]], site.width)
        for site in mask.layout.sites
    }


def _safetensors(mask: UnitMask, facts: Facts) -> bytes:
    metadata = {TABLE: json.dumps(mask.layout.table()), FACTS: json.dumps(facts)}
    return save(arrays_of(mask), metadata)


def _npz(mask: UnitMask, facts: Facts) -> bytes:
    said = {TABLE: mask.layout.table(), FACTS: facts}
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**arrays_of(mask), "__metadata__": np.array(json.dumps(said))}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _csv(mask: UnitMask, facts: Facts) -> bytes:
    del facts
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "kind", "module", "call", "tap", "index"])
    for site in mask.layout.sites:
        path, call, tap = parse_site_name(site.name)
        for unit in np.flatnonzero(mask.selected[mask.layout.slices[site.name]]):
            writer.writerow([site.name, site.kind, path, call, tap, unit])
    return text.getvalue().encode()


FORMATS: Mapping[str, Callable[[UnitMask, Facts], bytes]] = {
    "llm-localization": matrix_of,
    "brainscore": matrix_of,
    "safetensors": _safetensors,
    "numpy": _npz,
    "csv": _csv,
}
"""Name of a format -> what returns the bytes of its file."""


def read_mask(path: Path, layout: Layout) -> UnitMask:
    """Read a mask of another tool, or one that deeploc wrote, as a mask over a model's sites.

    Parameters
    ----------
    path
        A ``.npy`` matrix over blocks; a ``.npz`` or ``.safetensors`` of an array per site; a
        mask.safetensors of a run; or a ``.csv`` with the columns ``site`` and ``index``.
    layout
        The sites of the model. Sites that the file does not name hold no selected unit.

    Raises
    ------
    MaskError
        If the file cannot be read, or is not about these sites.
    """
    if path.suffix == ".npy":
        return _from_matrix(path, layout)
    if path.suffix == ".csv":
        return _from_units(path, _rows(path), layout)
    return _from_arrays(path, _arrays(path)[0], layout)


def described(path: Path) -> tuple[Sequence[str], Facts]:
    """Return which sites a file is about, as kinds or names, and what it says of the mask.

    Parameters
    ----------
    path
        As for `read_mask`.

    Raises
    ------
    MaskError
        If the file cannot be read.
    """
    if not path.is_file():
        what = "is a folder; name a mask in it" if path.is_dir() else "does not exist"
        raise MaskError(f"{path} {what}; `deeploc export RUN` writes masks")
    if path.suffix == ".npy":
        return ("block",), {}
    if path.suffix == ".csv":
        rows = _rows(path)
        return tuple(dict.fromkeys(row.get("kind") or row["site"] for row in rows)), {}
    arrays, said = _arrays(path)
    kinds = {row["name"]: row["kind"] for row in said.get(TABLE) or ()}
    return tuple(dict.fromkeys(kinds.get(name, name) for name in arrays)), said.get(FACTS) or {}


def _from_matrix(path: Path, layout: Layout) -> UnitMask:
    try:
        with path.open("rb") as file:
            matrix = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise MaskError(f"{path} is not a readable .npy array: {error}") from error
    if not isinstance(matrix, np.ndarray):
        raise MaskError(f"{path} is an archive of arrays; call it .npz")
    blocks = layout.choose(["block"])
    shape = (len(blocks.sites), blocks.sites[0].n_units)
    if matrix.shape != shape or not np.isin(matrix, (0, 1)).all():
        raise MaskError(
            f"{path} holds an array of shape {matrix.shape}; this model's blocks need a 0/1 "
            f"matrix of shape {shape} (layers, hidden)"
        )
    return UnitMask(blocks, matrix.reshape(-1).astype(bool))


def _from_arrays(path: Path, arrays: Mapping[str, np.ndarray], layout: Layout) -> UnitMask:
    selected = np.zeros(layout.n_units, dtype=bool)
    sites = {site.name: site for site in layout.sites}
    for name, array in arrays.items():
        _known(path, name, layout)
        site, flat = sites[name], np.asarray(array).reshape(-1)
        if flat.size != site.n_units * site.width or not np.isin(flat, (0, 1)).all():
            raise MaskError(
                f"{path} holds an array of shape {np.shape(array)} for {name}; this model needs "
                f"{site.n_units * site.width:,} numbers, each 0 or 1"
            )
        units = flat.reshape(site.n_units, site.width).astype(bool)
        if (units.any(axis=1) != units.all(axis=1)).any():
            raise MaskError(f"{path}: a part of a head is selected at {name}; heads are whole")
        selected[layout.slices[name]] = units.all(axis=1)
    return UnitMask(layout, selected)


def _from_units(path: Path, rows: Sequence[Mapping[str, str]], layout: Layout) -> UnitMask:
    selected = np.zeros(layout.n_units, dtype=bool)
    for number, row in enumerate(rows, start=2):
        _known(path, row["site"], layout)
        at = layout.slices[row["site"]]
        index = row["index"] or ""
        if not index.isdecimal() or int(index) >= at.stop - at.start:
            raise MaskError(
                f"{path}, line {number}: index {index!r} is no unit of {row['site']}, which has "
                f"{at.stop - at.start:,}, from 0 on"
            )
        selected[at.start + int(index)] = True
    return UnitMask(layout, selected)


def _known(path: Path, name: str, layout: Layout) -> None:
    if name not in layout.slices:
        raise MaskError(
            f"{path} is about {name!r}, and this model has no such site; is it a mask of another "
            "model? `deeploc sites MODEL` lists the sites"
        )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise MaskError(f"{path} is not a readable table: {error}") from error
    if not rows or not {"site", "index"} <= set(rows[0]):
        raise MaskError(f"{path} lists no units; it needs the columns site and index, and a row")
    return rows


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the array of every site, and the metadata."""
    try:
        read = _npz_arrays if path.suffix == ".npz" else _safetensors_arrays
        arrays, said = read(path)
        order = [row["name"] for row in checked_metadata(said).get(TABLE) or ()]
    except _UNREADABLE as error:
        raise MaskError(
            f"{path} is no mask that deeploc reads ({error}); it reads .npy, .npz, .csv and "
            ".safetensors"
        ) from error
    return {name: arrays[name] for name in sorted(arrays, key=lambda n: _place(n, order))}, said


def _safetensors_arrays(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    with safe_open(path, framework="numpy") as opened:
        names = set(opened.keys())
        arrays = {name: opened.get_tensor(name) for name in names if name != "selected"}
        metadata = opened.metadata() or {}  # other tools have keys of their own
        said = {key: json.loads(metadata[key]) for key in (TABLE, FACTS) if key in metadata}
    # mask.safetensors of a run: one vector over all sites
    return (arrays_of(load_mask(path)) if "selected" in names else arrays), said


def _npz_arrays(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    with path.open("rb") as raw:
        file = np.load(raw, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("one array, not an archive of them; call it .npy")
        arrays = {name: file[name] for name in file.files}
    said = arrays.pop("__metadata__", None)
    return arrays, {} if said is None else json.loads(str(said))


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Return where a site stands: as in the table, those that it lacks behind, by name."""
    return (order.index(name) if name in order else len(order), name)
