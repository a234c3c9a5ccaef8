"""Measured responses read from netCDF with xarray, an optional package."""

from pathlib import Path
from typing import Any

import numpy as np

from deeploc.errors import TaskError, nearest

from ._responses import OF_WHOM, PASSAGE, Columns, Responses, checked_ceiling

SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf")
"""How the names of netCDF files end."""

_INSTALL = "`pip install 'deeploc[brain]'`"


def read_array(path: Path, columns: Columns) -> Responses:
    """Return the responses of a netCDF file.

    The array has a dimension of stimuli, which a coordinate with the texts belongs to; each place
    along all its other dimensions is a response.

    Parameters
    ----------
    path
        The file.
    columns
        What its coordinates are called; ``value`` is the variable.

    Raises
    ------
    TaskError
        If xarray, or what it reads netCDF with, is not installed, the file cannot be read, or a
        coordinate is not there.
    """
    array = _opened(path, columns)
    texts = _coordinate(array, columns.stimulus, path, "stimulus")
    (along,) = texts.dims
    rest = [dimension for dimension in array.dims if dimension != along]
    matrix = array.transpose(along, *rest).values.reshape(len(texts), -1).astype(np.float64)
    if np.isinf(matrix).any():
        raise TaskError(f"{path}: a response is infinite; write nan where one is missing")
    group = columns.group or (PASSAGE if PASSAGE in array.coords else None)
    groups = None if group is None else _coordinate(array, group, path, "group")
    names = _names(array, rest, columns)
    lines = [str(text).strip() for text in texts.values]
    if len(set(lines)) < len(lines) or not all(lines):
        raise TaskError(
            f"{path}: a text of {columns.stimulus!r} is empty or there twice; average repetitions"
        )
    order = np.argsort(np.array(names), kind="stable")
    ceilings = _ceilings(array, columns.ceiling, rest, path)
    return Responses(
        tuple(lines),
        tuple(f"{path.name}:{number}" for number in range(len(lines))),
        None if groups is None else tuple(str(value) for value in groups.values),
        tuple(names[number] for number in order),
        matrix[:, order],
        None if ceilings is None else ceilings[order],
    )


def _opened(path: Path, columns: Columns) -> Any:
    """Return the one variable that holds responses, in memory."""
    try:
        import xarray
    except ImportError:
        raise TaskError(f"{path} is netCDF, which needs xarray: {_INSTALL}") from None
    try:
        with xarray.open_dataset(path) as opened:
            variables = [str(name) for name in opened.data_vars]
            wanted = columns.value[0] if columns.value else None
            if wanted is None and len(variables) == 1:
                wanted = variables[0]
            if wanted not in variables:
                raise TaskError(
                    f"{path}: which variable holds the responses? there are "
                    f"{', '.join(variables) or 'none'}; name it with `value:`"
                )
            return opened[wanted].load()
    except ValueError as error:  # xarray has no engine, or this is no netCDF
        if "IO backends" in str(error) or "engine" in str(error):
            why = f"is no netCDF, or nothing that reads it is installed: {_INSTALL}"
            raise TaskError(f"{path} {why}") from None
        raise TaskError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _coordinate(array: Any, name: str, path: Path, option: str) -> Any:
    known = [str(coordinate) for coordinate in array.coords]
    if name not in known or len(array.coords[name].dims) != 1:
        raise TaskError(
            f"{path}: no coordinate {name!r} along one dimension; {nearest(name, known)}there are: "
            f"{', '.join(known) or 'none'}; name yours with `{option}:`"
        )
    return array.coords[name]


def _names(array: Any, rest: list[str], columns: Columns) -> list[str]:
    """Return a name for every place along the dimensions that are not that of the stimuli."""
    if not rest:
        return [str(array.name)]
    flat = array.isel({d: 0 for d in array.dims if d not in rest}, drop=True).stack(place_=rest)
    known = [name for name in columns.response or OF_WHOM if name in array.coords]
    chosen = known or [name for name in rest if name in array.coords]
    numbers = [str(number) for number in range(flat.sizes["place_"])]
    if not chosen:
        return numbers
    parts = ["/".join(map(str, row)) for row in zip(*(flat[n].values for n in chosen), strict=True)]
    unique = len(set(parts)) == len(parts)
    return parts if unique else [f"{part}/{n}" for part, n in zip(parts, numbers, strict=True)]


def _ceilings(array: Any, name: str | None, rest: list[str], path: Path) -> Any:
    if name is None:
        return None
    if name not in array.coords or not set(array.coords[name].dims) <= set(rest):
        raise TaskError(
            f"{path}: no coordinate {name!r} along {' and '.join(rest)} that holds ceilings"
        )
    shape = {dimension: array.sizes[dimension] for dimension in rest}
    spread = array.coords[name].expand_dims(
        {d: n for d, n in shape.items() if d not in array.coords[name].dims}
    )
    flat = spread.transpose(*rest).values.ravel().astype(np.float64)
    return np.array([checked_ceiling(float(each), f"{path}: {name!r}") for each in flat])
